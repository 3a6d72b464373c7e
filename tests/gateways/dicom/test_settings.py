"""Settings that keep the gateway out of known trouble."""

from concurrent.futures import ThreadPoolExecutor
from typing import cast

from pynetdicom import _config

from medbus.gateways.dicom import limits
from medbus.gateways.dicom.pynetdicom.acceptor import Acceptor
from medbus.gateways.dicom.service import DicomService
from medbus.gateways.dicom.settings import Settings


def test_pynetdicom_is_set_for_storage_of_anything_by_many() -> None:
    assert limits.ACSE_TIMEOUT <= 5
    assert limits.MAXIMUM_ASSOCIATIONS >= 100
    assert _config.STORE_RECV_CHUNKED_DATASET
    assert _config.UNRESTRICTED_STORAGE_SERVICE
    settings = Settings(bootstrap="", database="", blobs="")
    assert settings.acse_timeout <= 5
    assert settings.maximum_associations >= 100
    nobody = cast(DicomService, None)
    acceptor = Acceptor(nobody, ThreadPoolExecutor(1), host="127.0.0.1", port=0, ae_title="MEDBUS")
    assert acceptor.ae.acse_timeout == 5
    assert acceptor.ae.maximum_associations >= 100
    assert acceptor.ae.require_called_aet
    assert acceptor.ae.maximum_pdu_size >= 128 * 1024
    assert acceptor.ae.network_timeout == 60
