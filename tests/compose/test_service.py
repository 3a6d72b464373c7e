"""Which components a service is made of."""

from pathlib import Path
from typing import Any

import pytest

from medbus.compose import settings
from medbus.compose.service import PROCESSES, Service, kind
from medbus.schemas.errors import SettingsError


def components(home: Path, only: tuple[str, ...] = (), **options: Any) -> list[str]:
    """Their names in the order of the stages."""
    service = Service(settings.load(home=home, **options), lambda *_: None, only)
    return [entry.component.name for entry in service._supervisor.entries]


def test_all_run_by_default_after_what_they_need(tmp_path: Path) -> None:
    names = components(tmp_path, dicom_workers=2, auth_workers=1)
    assert {kind(name) for name in names} == {"kafka", "topics", *PROCESSES}
    assert names[:3] == ["kafka", "topics", "projector"]
    assert names[-3:] == ["gateway-dicom-1", "gateway-dicom-2", "gateway-http"]


def test_a_service_may_do_without_some(tmp_path: Path) -> None:
    names = components(tmp_path, without="collector, processing-server ")
    missing = set(PROCESSES) - {kind(name) for name in names}
    assert missing == {"collector", "processing-server"}


def test_a_part_on_a_cluster_has_no_broker(tmp_path: Path) -> None:
    assert components(tmp_path, ("auth",), kafka="kafka:9092") == ["topics", "auth"]


@pytest.mark.parametrize(("only", "options"), [(("kafkaesque",), {}), ((), {"without": "auth,kafkaesque"})])
def test_a_component_that_there_is_not_is_named(
    tmp_path: Path, only: tuple[str, ...], options: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match="kafkaesque") as caught:
        components(tmp_path, only, kafka="kafka:9092", **options)
    assert "gateway-http" in caught.value.advice
