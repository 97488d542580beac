"""What requests and answers look like, for OpenAPI. Values only; nothing is computed here."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from everyclass.serving.limits import Limits, Outcome


class Record(BaseModel):
    """How a class did on the images that the run was evaluated on."""

    name: str = Field(alias="class")
    split: str
    decision: str = Field(description="Which decision the figures judge.")
    images: int = Field(description="Of the class, that it was judged on.")
    recall: float | None = Field(description="Share of these that were recognised.")
    recall_ci95: list[float] | None = Field(description="Low and high end at 95 %.")
    precision: float | None = Field(description="Share of what is given this class that is of it.")
    precision_ci95: list[float] | None


class Answer(BaseModel):
    """Of one image; the columns of `everyclass predict`."""

    prediction_balanced: str = Field(description="For the highest mean recall over the classes.")
    prediction_natural: str = Field(description="For the fewest errors at training frequencies.")
    prediction_prior: str | None = Field(
        default=None, description="Most probable at the frequencies of --prior, where given."
    )
    confidence: float = Field(description="Probability of the balanced decision.", ge=0, le=1)
    set: list[str] | None = Field(
        default=None, description="Classes that cannot be ruled out, most probable first."
    )
    set_size: int | None = None
    coverage: float | None = Field(
        default=None, description="Share of each class's images whose set is to hold the class."
    )
    probabilities: dict[str, float] = Field(description="Calibrated, by class; they sum to 1.")
    record: Record = Field(description="Of the class given by the decision that was evaluated.")


class Refused(BaseModel):
    """Why there is no answer."""

    error: str
    outcome: Outcome | None = Field(
        default=None, description="As the metrics count it; null where it was no prediction."
    )


class Health(BaseModel):
    """That the server answers, and what it has seen; without a token, where one is needed, `status`
    alone."""

    status: str
    seconds: float | None = Field(default=None, description="Since it began.")
    under_way: int | None = Field(default=None, description="Requests not answered yet.")
    requests: dict[str, int] | None = Field(default=None, description="By how they ended.")
    images_a_pass: float | None = None
    drift: dict[str, Any] | None = Field(
        default=None, description="Classes as they are given against those expected."
    )


def body(limits: Limits) -> dict[str, Any]:
    """The request body of /predict in OpenAPI's words."""
    told = {
        "schema": {"type": "string", "format": "binary", "maxLength": limits.max_bytes},
    }
    return {
        "requestBody": {
            "required": True,
            "description": "The file itself, not a form: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM or "
            f"DICOM, told apart by content; at most {limits.max_bytes:,} bytes and "
            f"{limits.max_pixels:,} pixels.",
            "content": {"application/octet-stream": told, "image/*": told},
        }
    }
