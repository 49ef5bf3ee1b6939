"""The declaration: `from include.workflow import Workflow, DatabaseSource, ...`."""

from include.workflow.deployment import Canary, Deployment, LocalEndpoint, SageMakerEndpoint
from include.workflow.gate import Fairness, Gate, Paired
from include.workflow.goal import Costs
from include.workflow.monitoring import Decay, Drift, Monitoring
from include.workflow.source import Source
from include.workflow.sources.database import DatabaseSource
from include.workflow.sources.files import FileSource
from include.workflow.sources.images import ImageSource, Videos
from include.workflow.sources.sensor import Lag, SensorSource
from include.workflow.sources.survey import AsIs, Band, Consent, Privacy, Round, SurveySource, Truncate, Year
from include.workflow.sources.web import WebSource
from include.workflow.workflow import (
    Features,
    Partition,
    Quality,
    Search,
    Target,
    Training,
    Workflow,
)

__all__ = [
    "AsIs",
    "Band",
    "Canary",
    "Consent",
    "Costs",
    "DatabaseSource",
    "Decay",
    "Deployment",
    "Drift",
    "Fairness",
    "Features",
    "FileSource",
    "Gate",
    "ImageSource",
    "Lag",
    "LocalEndpoint",
    "Monitoring",
    "Paired",
    "Partition",
    "Privacy",
    "Quality",
    "Round",
    "SageMakerEndpoint",
    "Search",
    "SensorSource",
    "Source",
    "SurveySource",
    "Target",
    "Training",
    "Truncate",
    "Videos",
    "WebSource",
    "Workflow",
    "Year",
]
