"""Labelled images, and video files cut into frames."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from include.workflow.part import Part
from include.workflow.source import ConnectionId, ReplayContract, Source

ImageLayout = Literal["class_folders", "coco", "pascal_voc", "label_studio"]
ImageTime = Literal["modified_at", "taken_at", "annotated_at", "partition_start"]
PARTITION_KEY = "{partition_key}"


class Videos(Part):
    """How a video becomes rows: frames at a rate, the first at its start."""

    frames_per_second: float = Field(default=1.0, gt=0, le=60)
    max_frames: int = Field(default=3600, ge=1, le=100_000, description="a video that gives more is refused as a whole")


class ImageSource(Source):
    """
    Image files below one folder or prefix, with what their place or an annotation file says of them.

    A row is one image (`class_folders`), or one box of an image (the other layouts; an image without a box has one
    row). Rows hold the image's digest and URI, never its bytes.
    """

    kind: Literal["images"] = "images"
    root: str = Field(description="absolute folder or s3://bucket/prefix; may hold {partition_key}")
    layout: ImageLayout = "class_folders"
    annotations: str | None = Field(
        default=None, description="annotation files, a pattern below the root: 'labels/*.xml'"
    )
    conn_id: str | None = Field(
        default=None, pattern=ConnectionId, description="Airflow connection for S3: aws; else as the lake"
    )
    event_time: ImageTime = Field(default="modified_at", description="what places an image in a partition")
    known_time: ImageTime = Field(default="modified_at", description="what says when the image became known")
    key: tuple[str, ...] = Field(default=(), description="empty: ('sha256',) for class folders, else ('sha256', 'box')")
    classes: tuple[str, ...] = Field(default=(), description="the labels that may occur; empty: any")
    orphans: Literal["refuse", "accept"] = Field(default="refuse", description="what an image without an annotation is")
    near_duplicates: int | None = Field(
        default=None, ge=0, le=16, description="differing bits (of 64) of what is still the same picture"
    )
    min_size: int = Field(default=1, ge=1, description="pixels of the shorter side")
    max_pixels: int = Field(
        default=40_000_000, ge=1, le=178_000_000, description="width x height that is still decoded"
    )
    max_file_mb: float = Field(default=64, gt=0, le=1024, description="a larger image file is refused unread")
    max_images: int = Field(
        default=200_000, ge=1, le=2_000_000, description="files below the root; more stop the partition"
    )
    workers: int = Field(default=4, ge=1, le=32, description="threads that read and decode")
    videos: Videos | None = Field(default=None, description="without it a video file is of an unsupported format")
    replay: ReplayContract = Field(default="replayable", description="'forward_only' where files do not stay")

    connection_types: ClassVar[tuple[str, ...]] = ("aws",)

    @field_validator("root")
    @classmethod
    def _check_root(cls, root: str) -> str:
        path = root.removeprefix("s3://")
        if not root.startswith("/") and not re.match(r"s3://[a-z0-9][a-z0-9.-]+(/|$)", root):
            raise ValueError("write an absolute folder or s3://bucket/prefix")
        if "//" in path.rstrip("/"):
            raise ValueError("the root may hold no empty name: write each '/' once")
        if ".." in path.split("/") or "\0" in path or path.replace(PARTITION_KEY, "").count("{"):
            raise ValueError("the root may hold no '..', and no field but {partition_key}")
        return root.rstrip("/") or root

    @field_validator("annotations")
    @classmethod
    def _check_annotations(cls, pattern: str | None) -> str | None:
        if pattern is not None and (pattern.startswith("/") or "://" in pattern or ".." in pattern.split("/")):
            raise ValueError(
                "annotation files lie below the root: write a relative pattern, for instance 'labels/*.xml'"
            )
        return pattern

    @model_validator(mode="before")
    @classmethod
    def _fill_key(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("key"):
            return values
        return {
            **values,
            "key": ("sha256",) if values.get("layout", "class_folders") == "class_folders" else ("sha256", "box"),
        }

    @model_validator(mode="after")
    def _check_together(self) -> ImageSource:
        if self.is_class_folders and self.annotations:
            raise ValueError(
                "class folders have no annotation files: the folder's name is the label; leave annotations out"
            )
        if not self.is_class_folders and not self.annotations:
            raise ValueError(
                f"layout={self.layout!r} needs annotations: name the files below the root, for instance 'labels/*.xml'"
            )
        if self.videos and not self.is_class_folders:
            raise ValueError("videos go with class folders only: an annotation file speaks of images")
        if "partition_start" in (self.event_time, self.known_time) and not self.is_cut_by_path:
            raise ValueError(
                "'partition_start' needs {partition_key} in the root: without it, name a time of the image itself"
            )
        if "annotated_at" in (self.event_time, self.known_time) and self.is_class_folders:
            raise ValueError(
                "class folders have no 'annotated_at': no annotation file says it; name 'modified_at' or 'taken_at'"
            )
        if self.conn_id and not self.root.startswith("s3://"):
            raise ValueError(f"conn_id={self.conn_id!r} is for s3://…: a folder needs no connection")
        return self

    @property
    def is_class_folders(self) -> bool:
        """Whether the folder's name is the label."""
        return self.layout == "class_folders"

    @property
    def is_cut_by_path(self) -> bool:
        """Whether each partition has a folder of its own."""
        return PARTITION_KEY in self.root

    def root_of(self, partition_key: str) -> str:
        """Folder or prefix of one partition."""
        return self.root.replace(PARTITION_KEY, partition_key)
