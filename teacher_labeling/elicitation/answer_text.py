"""What of a model's reply is its answer: not its reasoning, and not the turn after it.

Reasoning models put their thoughts before the answer, between marks of their own. There they quote
the format that they are to answer in, so nothing in it counts. Servers strip the marks or leave
them, and some chat templates put the first one into the prompt, where the reply lacks it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

CUT = "…"  # ends a text that went on when max_tokens were reached: its last word may be half a one
_TAGS = "think|thinking|thought|thoughts|reasoning|reason|reflection|scratchpad|seed:think"
_OPENED = re.compile(
    rf"<(?:{_TAGS})>|\[THINK\]|◁think▷|<unused94>"
    r"|<\|(?:begin_of_thought|START_THINKING|begin_of_reasoning)\|>",
    re.IGNORECASE,
)
_CLOSED = re.compile(
    rf"</(?:{_TAGS})>|\[/THINK\]|◁/think▷|<unused95>"
    r"|<\|(?:end_of_thought|END_THINKING|end_of_reasoning)\|>",
    re.IGNORECASE,
)
_CHANNEL, _MESSAGE = "<|channel|>", "<|message|>"  # gpt-oss's reply format
_BARE_ANALYSIS, _BARE_FINAL = re.compile("analysis[A-Z]"), "assistantfinal"  # without its tokens
_END_OF_TURN = re.compile(
    r"<\|(?:im_end|eot_id|eot|eom_id|end|endoftext|end_of_text|end_of_turn|END_OF_TURN_TOKEN"
    r"|return|eos|END_RESPONSE|user|observation)\|>"
    r"|</s>|<eos>|<end_of_turn>|<end_of_utterance>|\[/INST\]|<[|｜]end[▁_]of[▁_]sentence[|｜]>",
    re.IGNORECASE,
)
_OTHER_MARKS = re.compile(  # around an answer: white space
    r"<\|[^<>|\s]{1,40}\|>|</?(?:answer|response|output|final|final_answer|s|bos)>", re.IGNORECASE
)
_PLAIN = str.maketrans(  # characters that stand for plain ones
    {
        **dict.fromkeys("“”„‟«»＂", '"'),
        **dict.fromkeys("‘’‚‛＇", "'"),
        **dict.fromkeys("：﹕︰", ":"),
        **dict.fromkeys("，、﹐", ","),
        **dict.fromkeys("\u00a0\u2007\u202f\u3000\u2009", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff"),  # of no width
        **{"｛": "{", "｝": "}", "＜": "<", "＞": ">", "％": "%", "＊": "*", "＝": "="},
    }
)


def answer_text(reply: str, *, thinks_first: bool = False) -> str | None:
    """Return the answer that a reply holds, in plain characters; None if it ended before one.

    What is before the last mark that closes a reasoning is not the answer; where reasoning is
    opened and not closed, there is none. Time is linear in the length.

    Args:
        reply: as the model wrote it, ending in `CUT` if it was truncated.
        thinks_first: the reply begins inside a reasoning whose first mark is in the prompt.
    """
    if _is_plain(reply) and not thinks_first:
        return reply
    text = _own_turn(reply)
    if _CHANNEL in text:
        kind, separator, text = text.rpartition(_CHANNEL)[2].partition(_MESSAGE)
        if not separator or not kind.strip().lower().startswith("final"):
            return None
    elif _BARE_ANALYSIS.match(text):
        _, separator, text = text.rpartition(_BARE_FINAL)
        if not separator:
            return None
    end = _end_of_last(_CLOSED, text)
    if (thinks_first and end < 0) or _OPENED.search(text, max(end, 0)):
        return None
    text = _END_OF_TURN.split(text[max(end, 0) :].lstrip(), maxsplit=1)[0]
    return _OTHER_MARKS.sub("\n", text).translate(_PLAIN)


def answer_texts(replies: Sequence[str]) -> list[str | None]:
    """Return the answer in each of several replies to one question, as `answer_text`.

    If one of them closes a reasoning that it has not opened, the prompt opens it: then all begin
    inside it, those that were truncated there included.
    """
    thinks_first = any(map(_closes_unopened, replies))
    return [answer_text(reply, thinks_first=thinks_first) for reply in replies]


def _is_plain(reply: str) -> bool:
    """Whether it can hold none of the marks; nearly all replies are so, and this is quick."""
    has_marks = "<" in reply or "[" in reply or "◁" in reply
    return reply.isascii() and not has_marks and not reply.startswith("analysis")


def _own_turn(reply: str) -> str:
    """Cut off what follows the end of the turn, unless that is inside the reasoning."""
    if _CHANNEL in reply:  # its parts end like turns
        return reply
    text = reply.lstrip()
    while (leading := _END_OF_TURN.match(text)) is not None:
        text = text[leading.end() :].lstrip()
    end = _END_OF_TURN.search(text)
    if end is None:
        return text
    own = text[: end.start()]
    is_thinking = _OPENED.search(own, max(_end_of_last(_CLOSED, own), 0)) is not None
    return text if is_thinking else own


def _closes_unopened(reply: str) -> bool:
    closed = None if _is_plain(reply) else _CLOSED.search(reply)
    return closed is not None and _OPENED.search(reply, 0, closed.start()) is None


def _end_of_last(pattern: re.Pattern[str], text: str) -> int:
    """Return where the last match ends; -1 if there is none."""
    end = -1
    for match in pattern.finditer(text):
        end = match.end()
    return end
