"""PPO in one file, as CleanRL writes it, with kl_coef(t) * KL(teacher || student) in its loss.

python cleanrl_trainer.py --teacher recorded/vicuna-33b
"""

import argparse

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import llm4teach as lt
from llm4teach.student.model.encoders import make_encoder
from llm4teach.student.training.ppo import kl_from_teacher

N_ENVS, N_STEPS, EPOCHS, MINIBATCH = 16, 64, 4, 256
LEARNING_RATE, GAMMA, GAE_LAMBDA = 1e-3, 0.99, 0.95
CLIP, ENT_COEF, VF_COEF, MAX_GRAD_NORM = 0.2, 0.005, 0.5, 0.5
KL_COEF, KL_OFF = 1.0, 0.8  # falls linearly to 0 within this fraction of the steps


class Agent(nn.Module):
    """Actor and critic above an encoder of maps; put your own network here."""

    def __init__(self, shape, n_actions):
        super().__init__()
        self.encoder = make_encoder(shape, "cells")
        self.trunk = nn.Sequential(nn.Linear(128, 64), nn.ReLU())
        self.actor, self.critic = nn.Linear(64, n_actions), nn.Linear(64, 1)

    def forward(self, seen):  # uint8 (B, *shape)
        features = self.trunk(self.encoder(self.encoder.encode(seen)))
        return Categorical(logits=self.actor(features)), self.critic(features).squeeze(1)

    def probabilities(self, seen):
        """Return pi(a | s), (N, n_actions), as `lt.evaluate` wants it."""
        with torch.no_grad():
            return self(torch.from_numpy(seen))[0].probs.numpy()


def train(teacher, steps=65_536, seed=0, kl_coef=KL_COEF):
    """Return an agent that has learned the teacher's task."""
    torch.manual_seed(seed)
    task, rng = teacher.task, np.random.default_rng(seed)
    envs, n_actions = task.make_vector_env(N_ENVS), len(task.action_names)
    agent = Agent(task.observation_shape, n_actions)
    optimizer = torch.optim.Adam(agent.parameters(), LEARNING_RATE, eps=1e-5)

    def start(ended):  # new episodes where the last one ended
        seeds = rng.integers(1 << 30, size=N_ENVS)  # from 2^30 on are the held-out episodes
        return envs.reset(seed=seeds, options={"reset_mask": ended})[0]

    seen = start(np.ones(N_ENVS, bool))
    for update in range(steps // (N_ENVS * N_STEPS)):
        done = update * N_ENVS * N_STEPS / steps
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - done)
        weight = kl_coef * max(0.0, 1 - done / KL_OFF)

        obs = torch.zeros(N_STEPS, N_ENVS, *task.observation_shape, dtype=torch.uint8)
        advice = torch.zeros(N_STEPS, N_ENVS, n_actions)  # rows of 0: no advice
        actions = torch.zeros(N_STEPS, N_ENVS, dtype=torch.int64)
        logprobs, values, next_values, rewards, terminated, ended = (
            torch.zeros(N_STEPS, N_ENVS) for _ in range(6)
        )
        for t in range(N_STEPS):
            obs[t] = torch.from_numpy(seen)
            with torch.no_grad():
                policy, values[t] = agent(obs[t])
                actions[t] = policy.sample()
                logprobs[t] = policy.log_prob(actions[t])
            if weight:
                advice[t] = torch.from_numpy(teacher.teacher_probs(seen))
            seen, reward, term, trunc, _ = envs.step(actions[t].numpy())
            rewards[t] = torch.from_numpy(reward)
            with torch.no_grad():
                next_values[t] = agent(torch.from_numpy(seen))[1]
            terminated[t], ended[t] = torch.from_numpy(term), torch.from_numpy(term | trunc)
            if ended[t].any():
                seen = start(term | trunc)

        advantages, last = torch.zeros(N_STEPS, N_ENVS), torch.zeros(N_ENVS)
        deltas = rewards + GAMMA * next_values * (1 - terminated) - values
        for t in reversed(range(N_STEPS)):
            advantages[t] = last = deltas[t] + GAMMA * GAE_LAMBDA * (1 - ended[t]) * last
        returns = advantages + values
        batch = [x.flatten(0, 1) for x in (obs, actions, logprobs, advantages, returns, advice)]

        for _ in range(EPOCHS):
            for rows in torch.randperm(N_ENVS * N_STEPS).split(MINIBATCH):
                b_obs, b_actions, b_logprobs, b_advantages, b_returns, b_advice = (
                    column[rows] for column in batch
                )
                policy, value = agent(b_obs)
                ratio = (policy.log_prob(b_actions) - b_logprobs).exp()
                b_advantages = (b_advantages - b_advantages.mean()) / (b_advantages.std() + 1e-8)
                clipped = ratio.clamp(1 - CLIP, 1 + CLIP) * b_advantages
                pg_loss = -torch.min(ratio * b_advantages, clipped).mean()
                v_loss = 0.5 * (value - b_returns).square().mean()
                kl = kl_from_teacher(b_advice, policy.logits).mean()  # 0 without advice
                entropy = policy.entropy().mean()
                loss = pg_loss - ENT_COEF * entropy + VF_COEF * v_loss + weight * kl
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRAD_NORM)
                optimizer.step()
    return agent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="SimpleDoorKey")
    parser.add_argument("--workspace", default="workspace", help="where advice is stored")
    parser.add_argument("--teacher", default="embedded")
    parser.add_argument("--steps", type=int, default=65_536, help="env steps")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    teacher = lt.TeacherPolicy(args.workspace, args.task, args.teacher, ask=True)
    agent = train(teacher, args.steps, args.seed)
    print(lt.evaluate(args.task, agent.probabilities))
