"""Answers of vLLM, llama.cpp and LM Studio, in the bytes of their documented formats."""

from tests.support.recorded_answers.llamacpp import LlamaCppRecorder
from tests.support.recorded_answers.lmstudio import LmStudioRecorder
from tests.support.recorded_answers.recorder import DONE, Recorder, compact, event
from tests.support.recorded_answers.turns import Call, Part, Reasoning, Text, Turn
from tests.support.recorded_answers.vllm import VllmRecorder

RECORDERS: tuple[Recorder, ...] = (VllmRecorder(), LlamaCppRecorder(), LmStudioRecorder())

__all__ = [
    "DONE",
    "RECORDERS",
    "Call",
    "LlamaCppRecorder",
    "LmStudioRecorder",
    "Part",
    "Reasoning",
    "Recorder",
    "Text",
    "Turn",
    "VllmRecorder",
    "compact",
    "event",
]
