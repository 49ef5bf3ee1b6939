"""
The bundle of a model for a container: `model.tar.gz`, whose bytes follow from the model's digest alone.

It holds the files that the manifest lists, and the manifest without the ids of the training and the run, which the
digest leaves out too. No time, owner or order of the machine gets in: two deployments of one model make the same bytes,
and the second uploads nothing.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import asdict, replace
from typing import Any

from include.deployment.aws import aws_errors, code_of
from include.deployment.release import Release
from include.errors import DeploymentError, TamperedModelError
from include.lake.crash_points import crash_point
from include.modeling.model import MANIFEST_FILE, manifest_digest, read_manifest

BUNDLE_FILE = "model.tar.gz"
_TAKEN = frozenset({"PreconditionFailed", "412"})


def bundle_model(release: Release) -> bytes:
    """
    Pack a verified package.

    Returns
    -------
    bytes
        A gzipped tar archive: the same bytes for the same model digest.

    Raises
    ------
    TamperedModelError
        If the package has changed since it was verified.

    """
    manifest = replace(read_manifest(release.folder), training_id="", created_by_run=None)
    if manifest_digest(manifest) != release.model_digest:
        raise TamperedModelError(
            f"the package in {release.folder} is no longer that of version {release.version}: deploy again"
        )
    contents = {name: (release.folder / name).read_bytes() for name in manifest.files}
    for name, digest in manifest.files.items():
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise TamperedModelError(
                f"{name} of version {release.version} was changed since it was verified: deploy again"
            )
    contents[MANIFEST_FILE] = json.dumps(asdict(manifest), sort_keys=True, allow_nan=False).encode()
    packed = io.BytesIO()
    # Level 6 and no name or time in the header: the same bytes tomorrow.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=6, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(contents):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(contents[name]), 0o644
            archive.addfile(entry, io.BytesIO(contents[name]))
    return packed.getvalue()


def put_bundle(s3: Any, bundle: bytes, *, bucket: str, key: str) -> str:
    """
    Upload a bundle with its checksum, unless it is there; what is there must have that checksum.

    Parameters
    ----------
    s3
        A boto3 client.
    bundle : bytes
        What to upload.
    bucket, key : str
        Where to.

    Returns
    -------
    str
        Its address, `s3://bucket/key`.

    Raises
    ------
    TamperedModelError
        If another file is in its place.
    EndpointUnavailableError, DeploymentError
        If the store does not answer, or refuses.

    """
    from botocore.exceptions import ClientError

    checksum = base64.b64encode(hashlib.sha256(bundle).digest()).decode()
    with aws_errors(f"take the bundle s3://{bucket}/{key}"):
        try:
            # Two deployments at once: one writes, the other is told, and compares.
            s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=bundle,
                ChecksumSHA256=checksum,
                IfNoneMatch="*",
                ContentType="application/gzip",
            )
        except ClientError as error:
            if code_of(error) not in _TAKEN:
                raise
        crash_point("bundle.after_upload")
        found = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    if found.get("ChecksumSHA256") is None:
        raise DeploymentError(
            f"s3://{bucket}/{key} has no SHA-256 checksum: something else wrote it, remove it and deploy again"
        )
    if (found["ChecksumSHA256"], found["ContentLength"]) != (checksum, len(bundle)):
        raise TamperedModelError(
            f"s3://{bucket}/{key} is not the bundle of this model: find out who wrote it, then remove it"
        )
    return f"s3://{bucket}/{key}"
