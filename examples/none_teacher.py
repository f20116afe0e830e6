"""A teacher without a model: all options are as likely. --teacher none_teacher:teacher"""

import llm4teach as lt


class NoTeacher(lt.Teacher):
    info = lt.TeacherInfo("uniform", "none", model_revision="1", method="uniform")

    def advise(self, states):
        for state in states:
            share = 1 / max(1, len(state.options))
            yield lt.advice_from_weights(state, dict.fromkeys(state.options, share))


teacher = lt.Backend(lambda *settings: NoTeacher(), "any option", remote=False, priced=False)
