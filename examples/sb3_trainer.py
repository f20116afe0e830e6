"""Stable-Baselines3's PPO with kl_coef(t) * KL(teacher || student) in its loss."""

import torch
from gymnasium.wrappers import ReshapeObservation
from stable_baselines3 import PPO
from stable_baselines3.common import env_util, policies, torch_layers

import llm4teach as lt
from llm4teach.student.model.encoders import make_encoder
from llm4teach.student.training.ppo import kl_from_teacher

TASK, TEACHER, STEPS, SEED = "SimpleDoorKey", "recorded/vicuna-33b", 65_536, 0
KL_COEF, KL_OFF = 1.0, 0.8  # falls linearly to 0 within this fraction of the steps
SETTINGS = {"n_steps": 64, "batch_size": 256, "n_epochs": 4, "ent_coef": 0.005}


class Cells(torch_layers.BaseFeaturesExtractor):  # your own network goes here
    def __init__(self, space):
        super().__init__(space, features_dim=128)
        self.encoder = make_encoder(space.shape[1:], "cells")

    def forward(self, seen):  # float32 (B, 1, *observation_shape)
        return self.encoder(self.encoder.encode(seen.byte().squeeze(1)))


class TaughtPolicy(policies.ActorCriticPolicy):
    def evaluate_actions(self, obs, actions):
        values, log_prob, entropy = super().evaluate_actions(obs, actions)
        if self.kl_weight:  # PPO's loss has -ent_coef * entropy: subtract the KL term from it
            advice = torch.from_numpy(self.teacher.teacher_probs(obs.squeeze(1).numpy()))
            kl = kl_from_teacher(advice, self.get_distribution(obs).distribution.logits)
            entropy = entropy - self.kl_weight * kl  # kl is 0 where there is no advice
        return values, log_prob, entropy

    def probabilities(self, seen):  # uint8 (N, *observation_shape) -> float32 (N, n_actions)
        obs = torch.from_numpy(seen[:, None])
        return self.get_distribution(obs).distribution.probs.detach().numpy()


class TaughtPPO(PPO):
    def train(self):
        left = max(0.0, 1 - (1 - self._current_progress_remaining) / KL_OFF)
        self.policy.kl_weight = self.kl_coef * left / self.ent_coef
        super().train()


def learner(teacher, seed=0, kl_coef=KL_COEF, **settings):
    maps = (1, *teacher.task.observation_shape)  # of three axes it would be taken for an image
    envs = env_util.make_vec_env(lambda: ReshapeObservation(lt.make_env(TASK), maps), n_envs=16)
    settings = {"learning_rate": lambda left: 1e-3 * left, "seed": seed, **SETTINGS, **settings}
    network = {"features_extractor_class": Cells}
    model = TaughtPPO(TaughtPolicy, envs, policy_kwargs=network, device="cpu", **settings)
    model.policy.teacher, model.kl_coef = teacher, kl_coef
    return model


if __name__ == "__main__":
    teacher = lt.TeacherPolicy("workspace", TASK, TEACHER, ask=True)
    model = learner(teacher, SEED).learn(STEPS)
    print(lt.evaluate(TASK, model.policy.probabilities))
