"""Events of registered images. Texts are Unicode and empty where the data set has none."""

from uuid import UUID

from medbus.schemas.events.base import Blob, Event, Int, Value


class Patient(Value):
    """Patient attributes (PS3.3 C.7.1.1)."""

    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""


class Study(Value):
    """Study attributes (PS3.3 C.7.2.1)."""

    study_instance_uid: str
    study_id: str = ""
    study_date: str = ""
    study_time: str = ""
    accession_number: str = ""
    study_description: str = ""
    referring_physician_name: str = ""


class Series(Value):
    """Series and equipment attributes (PS3.3 C.7.3.1, C.7.5.1)."""

    series_instance_uid: str
    modality: str = ""
    series_number: Int | None = None
    series_date: str = ""
    series_time: str = ""
    series_description: str = ""
    protocol_name: str = ""
    body_part_examined: str = ""
    manufacturer: str = ""
    manufacturer_model_name: str = ""
    station_name: str = ""
    institution_name: str = ""


class Instance(Value):
    """Instance attributes (PS3.3 C.7.6.1, C.12.1)."""

    sop_instance_uid: str
    sop_class_uid: str
    instance_number: Int | None = None
    image_type: str = ""
    imaging_date: str = ""
    imaging_time: str = ""
    rows: Int | None = None
    columns: Int | None = None
    number_of_frames: Int | None = None
    comments: str = ""


class Header(Value):
    """The data set without its bulk data, as encoded: in the event up to 64 KiB, else as a blob."""

    transfer_syntax_uid: str
    data: bytes | None = None
    blob: Blob | None = None


class ImageRegistered(Event):
    """An image is durable and known to the service."""

    grant_id: UUID
    registrant: str
    apparatus_id: str | None = None
    patient: Patient
    study: Study
    series: Series
    instance: Instance
    conditions: dict[str, str]
    header: Header
    blob: Blob


class ImageConflicted(Event):
    """Other contents came under a SOP Instance UID that is registered already."""

    grant_id: UUID
    registrant: str
    study_instance_uid: str
    sop_instance_uid: str
    registered: Blob
    refused: Blob


class ImageErased(Event):
    """An image was erased by order; its blob may be removed."""

    study_instance_uid: str
    sop_instance_uid: str
    digest: str
    reason: str


ImageEvent = ImageRegistered | ImageConflicted | ImageErased
