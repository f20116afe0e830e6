"""A rollout against the same steps played and valued one by one, over terminal and cut episodes."""

import numpy as np
import torch

from llm4teach.envs.registry import get_task
from llm4teach.envs.seeds import training_seeds
from llm4teach.envs.vector.episodes import EpisodeVector
from llm4teach.student.config import FinetuneConfig
from llm4teach.student.model.network import Student
from llm4teach.student.training.rollout import RolloutBuffer, collect_rollout

TASK = get_task("SimpleDoorKey")
CONFIG = FinetuneConfig(n_envs=3, rollout_length=400)


def test_rollout_equals_the_slow_way() -> None:
    torch.manual_seed(0)
    student = Student(TASK.observation_shape, 7, width=8, hidden=8)
    for parameter in student.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    envs = EpisodeVector(TASK, 3, training_seeds(4, "x"))
    buffer = RolloutBuffer(student, envs, CONFIG.rollout_length)
    generator, running = torch.Generator().manual_seed(0), torch.zeros(3)
    batch, stats = collect_rollout(student, None, envs, buffer, CONFIG, generator, running)
    inputs = batch.inputs.unflatten(0, (400, 3))

    @torch.no_grad()
    def value(observation: np.ndarray) -> float:
        return student(torch.from_numpy(observation[None].copy())).values.item()

    again = EpisodeVector(TASK, 3, training_seeds(4, "x"))
    actions = batch.actions.view(400, 3).numpy()
    deltas, values, carries = (np.zeros((400, 3)) for _ in range(3))
    ended = truncated = 0
    for t in range(400):
        before = again.observations.copy()
        assert torch.equal(inputs[t], student.encode(torch.from_numpy(before)))
        step = again.step(actions[t])
        for i in range(3):
            values[t, i] = value(before[i])
            future = 0.0 if step.terminated[i] else value(step.final_observations[i])
            deltas[t, i] = step.rewards[i] + CONFIG.gamma * future - values[t, i]
            over = bool(step.terminated[i] or step.truncated[i])
            carries[t, i] = 0.0 if over else CONFIG.gamma * CONFIG.gae_lambda
            ended += over
            truncated += bool(step.truncated[i])
    advantages = deltas.copy()
    for t in range(398, -1, -1):
        advantages[t] += carries[t] * advantages[t + 1]

    assert truncated >= 3, "or the time limit was never met"
    assert len(stats.returns) == len(stats.lengths) == ended
    np.testing.assert_allclose(batch.advantages.view(400, 3), advantages, atol=2e-4)
    np.testing.assert_allclose(batch.returns.view(400, 3), advantages + values, atol=2e-4)
    with torch.no_grad():
        log_probs = student.from_inputs(batch.inputs).logits.log_softmax(-1)
    expected = log_probs.gather(1, batch.actions[:, None]).squeeze(1)
    torch.testing.assert_close(batch.logprobs, expected, atol=1e-4, rtol=1e-4)
    assert not batch.teacher_probs.any()
