"""Trains the demo checkpoint from scratch: `python train.py --out RUN_FOLDER`.

Two stages. First the prompt encoder and the mask decoder alone learn WHERE a prompt points, on
random features. Then the whole model learns scenes, at a small picture size and at last at the
final one. Every choice follows from the seed, the step and the process.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from evaluate import score_held_out
from losses import prompt_loss, real_iou
from model import Features, build_model, decode, encode, export, read_architecture, set_image_size
from prompts import BOTTOM_RIGHT, INSIDE, NOTHING, TOP_LEFT, Prompts, correct, make_prompts
from scenes import make_scene
from schedule import Phase, parse_phases, warm_cosine

TRAINED = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")
DECODER = ("sam_prompt_encoder.", "sam_mask_decoder.")


class Trainer:
    """One process of the run; process 0 also writes the log and the files."""

    def __init__(self, args: argparse.Namespace, rank: int) -> None:
        self.args, self.rank = args, rank
        self.device = torch.device(args.device)
        self.phases = parse_phases(args.phases)
        self.total = sum(phase.steps for phase in self.phases)
        torch.manual_seed(args.seed)
        self.model: Any = build_model(read_architecture(self.phases[0].size)).to(self.device)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.step, self.seconds = 0, 0.0
        self.started = self.saved = time.monotonic()
        self.optimizer = self._optimizer(TRAINED, 1.0)

    def _optimizer(self, prefixes: tuple[str, ...], rate: float) -> torch.optim.AdamW:
        chosen = [p for name, p in self.model.named_parameters() if name.startswith(prefixes)]
        groups = [
            {"params": [p for p in chosen if p.dim() > 1], "weight_decay": 0.02},
            {"params": [p for p in chosen if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, rate, betas=(0.9, 0.98))

    def log(self, text: str) -> None:
        """Appends a line to the log and shows it."""
        if self.rank == 0:
            print(text, flush=True)
            with (Path(self.args.out) / "train.log").open("a") as file:
                file.write(text + "\n")

    def minutes(self) -> float:
        """Minutes trained so far, those before a resume included."""
        return (self.seconds + time.monotonic() - self.started) / 60

    def update(self, optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
        """One step down the gradient, averaged over the processes."""
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self.args.processes > 1:
            flat = torch.cat(
                [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
            )
            dist.all_reduce(flat)
            flat /= self.args.processes
            parts = torch.split(flat, [p.numel() for p in parameters])
            for p, grad in zip(parameters, parts, strict=True):
                p.grad = grad.view_as(p)
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        if torch.isfinite(norm):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def pretrain_decoder(self) -> None:
        """Teaches prompt encoder and decoder to fill a box's ellipse or a disc at a point."""
        size, cells = self.phases[0].size, self.phases[0].size // 16
        optimizer = self._optimizer(DECODER, 1.0)
        channels = self.model.hidden_dim
        grid = torch.arange(cells * 4, device=self.device) * 4 + 2.0
        count = 64 // self.args.processes
        torch.manual_seed(self.args.seed * 1000 + self.rank + 1)
        steps = self.args.decoder_steps
        for step in range(1, steps + 1):
            sides = torch.rand(count, 2) * 0.6 + 0.08
            corner = torch.rand(count, 2) * (1 - sides)
            middle, radius = (corner + sides / 2) * size, sides / 2 * size
            coords = torch.stack([corner, corner + sides], 1) * size
            labels = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]]).repeat(count, 1)
            points = count // 4
            coords[:points, 0], labels[:points] = middle[:points], torch.tensor([INSIDE, NOTHING])
            radius[:points] = 0.1 * size
            middle, radius = middle.to(self.device), radius.to(self.device)
            across = (grid[None] - middle[:, :1]) / radius[:, :1]
            down = (grid[None] - middle[:, 1:]) / radius[:, 1:]
            targets = (across[:, None] ** 2 + down[:, :, None] ** 2 < 1).float()
            features = Features(
                torch.randn(count, channels, cells, cells, device=self.device),
                (
                    torch.randn(count, channels // 8, cells * 4, cells * 4, device=self.device),
                    torch.randn(count, channels // 4, cells * 2, cells * 2, device=self.device),
                ),
            )
            logits, scores = decode(
                self.model, features, coords.to(self.device), labels.to(self.device)
            )
            loss = prompt_loss(logits, scores, targets, certain=True)
            self.update(optimizer, loss, 1.5e-3 * warm_cosine(step, steps, 100))
            if step % 50 == 0:
                overlap = real_iou(logits, targets)[:, 0]
                self.log(
                    f"decoder {step:5d}  {self.minutes():6.1f} min  loss {loss.item():.3f}  "
                    f"ellipse {overlap[points:].mean():.3f}  disc {overlap[:points].mean():.3f}"
                )
        self.average.load_state_dict(self.model.state_dict())

    def _group_loss(
        self, features: Features, prompts: Prompts, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loss of one group, and each prompt's best candidate `(P, S/4, S/4)` by score."""
        each = len(prompts.labels) // len(features.embedding)
        logits, scores = decode(
            self.model,
            features.repeat(each),
            torch.from_numpy(prompts.coords).to(self.device),
            torch.from_numpy(prompts.labels).to(self.device),
            masks,
        )
        targets = torch.from_numpy(prompts.targets).to(self.device)
        loss = prompt_loss(logits, scores, targets, prompts.certain)
        pick = scores[:, 1:].argmax(1) + 1
        return loss, logits.detach()[torch.arange(len(pick)), pick]

    def loss_of_step(self, phase: Phase) -> Tensor:
        """Draws scenes and prompts for this step and returns the loss."""
        rng = np.random.default_rng([self.args.seed, self.step, self.rank])
        scenes = [make_scene(rng, phase.size) for _ in range(phase.images)]
        images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
        features = encode(self.model, images)
        boxes = make_prompts(rng, scenes, "box", 5)
        points = make_prompts(rng, scenes, "point", 4)
        box_loss, box_logits = self._group_loss(features, boxes)
        point_loss, point_logits = self._group_loss(features, points)
        if self.step % 3:
            third = make_prompts(rng, scenes, "several", 3)
            third_loss, _ = self._group_loss(features, third)
        else:
            first, logits = (boxes, box_logits) if rng.random() < 0.3 else (points, point_logits)
            refined = correct(rng, first, logits.cpu().numpy())
            third_loss, _ = self._group_loss(features, refined, logits[:, None].clamp(-32, 32))
        return (5 * box_loss + 4 * point_loss + 3 * third_loss) / 12

    def follow(self) -> None:
        """Moves the averaged weights towards the current ones."""
        keep = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.model.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)

    def train(self) -> None:
        """Runs the phases from the current step on."""
        end = 0
        for phase in self.phases:
            end += phase.steps
            if self.step >= end:
                continue
            for model in (self.model, self.average):
                set_image_size(model, phase.size)
            self.log(f"pictures of {phase.size}, {phase.images} x {self.args.processes} a step")
            while self.step < end:
                self.step += 1
                loss = self.loss_of_step(phase)
                rate = self.args.rate * warm_cosine(self.step, self.total, 200)
                self.update(self.optimizer, loss, rate)
                self.follow()
                if self.step % 50 == 0:
                    self.log(f"{self.step:6d}  {self.minutes():6.1f} min  loss {loss.item():.3f}")
                if self.rank == 0 and (self.step % 500 == 0 or self.step == self.total):
                    self.report(phase)
                if self.rank == 0 and (
                    time.monotonic() - self.saved > 180 or self.step in (end, self.total)
                ):
                    self.save()

    def report(self, phase: Phase) -> None:
        """Measures the averaged weights, logs the result and exports a usable file."""
        quality = score_held_out(self.average, phase.size, 32)
        self.log(f"{self.step:6d}  " + "  ".join(f"{k} {v:.3f}" for k, v in quality.items()))
        notes = {
            "trained_at_steps": str(self.step),
            "seed": str(self.args.seed),
            "quality": json.dumps(quality),
        }
        tree = read_architecture(phase.size)
        path = Path(self.args.out) / "demo.safetensors"
        export(self.average.state_dict(), tree, path, notes)

    def save(self) -> None:
        """Writes all that a resumed run needs."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.minutes() * 60,
        }
        path = Path(self.args.out) / "state.pt"
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Loads what `save` wrote."""
        state = torch.load(Path(self.args.out) / "state.pt", map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.log(f"resumed at step {self.step}")


def run(rank: int, args: argparse.Namespace) -> None:
    """The whole training in one process of several."""
    cv2.setNumThreads(1)
    if args.device == "cpu":
        torch.set_num_threads(max(1, args.threads // args.processes))
    if args.processes > 1:
        address = f"tcp://127.0.0.1:{args.port}"
        dist.init_process_group("gloo", address, rank=rank, world_size=args.processes)
    trainer = Trainer(args, rank)
    if args.resume:
        trainer.resume()
    else:
        trainer.pretrain_decoder()
        if rank == 0:
            trainer.save()
    trainer.train()
    if args.processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def main() -> None:
    """Reads the command line and starts the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="folder for the log, state and checkpoint")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2, help="CPU threads")
    parser.add_argument("--processes", type=int, default=2, help="use 1 with cuda")
    parser.add_argument("--port", type=int, default=29511, help="where the processes meet")
    parser.add_argument("--decoder-steps", type=int, default=1000)
    parser.add_argument(
        "--phases",
        default="256:3:3600,384:2:3500,448:2:1500,512:2:3400,448:2:3600,512:2:2500",
        help="SIZE:IMAGES:STEPS,...",
    )
    parser.add_argument("--rate", type=float, default=8e-4, help="peak learning rate")
    parser.add_argument("--resume", action="store_true", help="go on from the state in --out")
    args = parser.parse_args()
    Path(args.out).mkdir(parents=True, exist_ok=True)
    if args.processes > 1:
        spawn(run, (args,), args.processes)  # type: ignore[no-untyped-call]
    else:
        run(0, args)


if __name__ == "__main__":
    main()
