"""Imaging conditions: which attributes of an image say how it was made, and in what unit (PS3.3, PS3.6).

An event carries conditions as a map of keyword to text. The text is the attribute's value as DICOM writes it
(values separated by a backslash), so that a scanner can load it; all else about a keyword stands here.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

_TABLE = """
00082144 IS RecommendedDisplayFrameRate /s display rate
00101020 DS PatientSize m height
00101030 DS PatientWeight kg weight
00180010 LO ContrastBolusAgent 1 contrast
00180020 CS ScanningSequence 1 sequence type
00180021 CS SequenceVariant 1 variant
00180022 CS ScanOptions 1 options
00180023 CS MRAcquisitionType 1 2D/3D
00180024 SH SequenceName 1 sequence
00180031 LO Radiopharmaceutical 1 tracer
00180040 IS CineRate /s frame rate
00180050 DS SliceThickness mm slice
00180060 DS KVP kV kVp
00180070 IS CountsAccumulated 1 counts
00180071 CS AcquisitionTerminationCondition 1 termination
00180080 DS RepetitionTime ms TR
00180081 DS EchoTime ms TE
00180082 DS InversionTime ms TI
00180083 DS NumberOfAverages 1 NEX
00180084 DS ImagingFrequency MHz frequency
00180085 SH ImagedNucleus 1 nucleus
00180086 IS EchoNumbers 1 echo
00180087 DS MagneticFieldStrength T B0
00180088 DS SpacingBetweenSlices mm slice spacing
00180089 IS NumberOfPhaseEncodingSteps 1 phase steps
00180090 DS DataCollectionDiameter mm scan FOV
00180091 IS EchoTrainLength 1 ETL
00180093 DS PercentSampling % sampling
00180094 DS PercentPhaseFieldOfView % phase FOV
00180095 DS PixelBandwidth Hz bandwidth
00181030 LO ProtocolName 1 protocol
00181041 DS ContrastBolusVolume mL contrast volume
00181044 DS ContrastBolusTotalDose mL contrast dose
00181046 DS ContrastFlowRate mL/s contrast flow
00181047 DS ContrastFlowDuration s contrast duration
00181049 DS ContrastBolusIngredientConcentration mg/mL contrast concentration
00181060 DS TriggerTime ms trigger delay
00181063 DS FrameTime ms frame time
00181070 LO RadiopharmaceuticalRoute 1 route
00181071 DS RadiopharmaceuticalVolume mL tracer volume
00181072 TM RadiopharmaceuticalStartTime 1 injected
00181073 TM RadiopharmaceuticalStopTime 1 injection end
00181074 DS RadionuclideTotalDose Bq activity
00181075 DS RadionuclideHalfLife s half-life
00181076 DS RadionuclidePositronFraction 1 positron fraction
00181078 DT RadiopharmaceuticalStartDateTime 1 injected
00181081 IS LowRRValue ms RR low
00181082 IS HighRRValue ms RR high
00181088 IS HeartRate /min HR
00181100 DS ReconstructionDiameter mm FOV
00181110 DS DistanceSourceToDetector mm SDD
00181111 DS DistanceSourceToPatient mm SPD
00181114 DS EstimatedRadiographicMagnificationFactor 1 magnification
00181120 DS GantryDetectorTilt deg tilt
00181130 DS TableHeight mm table height
00181134 CS TableMotion 1 table motion
00181138 DS TableAngle deg table angle
00181140 CS RotationDirection 1 rotation direction
00181142 DS RadialPosition mm radius
00181143 DS ScanArc deg arc
00181144 DS AngularStep deg step
00181147 CS FieldOfViewShape 1 FOV shape
00181149 IS FieldOfViewDimensions mm FOV
00181150 IS ExposureTime ms time
00181151 IS XRayTubeCurrent mA mA
00181152 IS Exposure mAs mAs
00181153 IS ExposureInuAs uAs uAs
00181154 DS AveragePulseWidth ms pulse
00181155 CS RadiationSetting 1 radiation setting
0018115A CS RadiationMode 1 radiation mode
0018115E DS ImageAndFluoroscopyAreaDoseProduct dGy.cm2 DAP
00181160 SH FilterType 1 filter
00181161 LO TypeOfFilters 1 filters
00181162 DS IntensifierSize mm intensifier
00181164 DS ImagerPixelSpacing mm detector pixel
00181166 CS Grid 1 grid
00181170 IS GeneratorPower kW power
00181180 SH CollimatorGridName 1 collimator name
00181181 CS CollimatorType 1 collimator
00181182 IS FocalDistance mm focal distance
00181190 DS FocalSpots mm focal spot
00181191 CS AnodeTargetMaterial 1 anode
001811A0 DS BodyPartThickness mm thickness
001811A2 DS CompressionForce N compression
001811A4 LO PaddleDescription 1 paddle
00181210 SH ConvolutionKernel 1 kernel
00181242 IS ActualFrameDuration ms frame duration
00181250 SH ReceiveCoilName 1 receive coil
00181251 SH TransmitCoilName 1 transmit coil
00181260 SH PlateType 1 plate
00181261 LO PhosphorType 1 phosphor
00181271 FD WaterEquivalentDiameter mm Dw
00181300 DS ScanVelocity mm/s scan velocity
00181301 CS WholeBodyTechnique 1 whole body
00181310 US AcquisitionMatrix 1 matrix
00181312 CS InPlanePhaseEncodingDirection 1 phase direction
00181314 DS FlipAngle deg FA
00181315 CS VariableFlipAngleFlag 1 variable FA
00181316 DS SAR W/kg SAR
00181318 DS dBdt T/s dB/dt
00181400 LO AcquisitionDeviceProcessingDescription 1 processing
00181401 LO AcquisitionDeviceProcessingCode 1 processing code
00181402 CS CassetteOrientation 1 cassette orientation
00181403 CS CassetteSize 1 cassette size
00181404 US ExposuresOnPlate 1 exposures
00181405 IS RelativeXRayExposure 1 relative exposure
00181411 DS ExposureIndex 1 EI
00181412 DS TargetExposureIndex 1 EIt
00181413 DS DeviationIndex 1 DI
00181450 DS ColumnAngulation deg column angle
00181500 CS PositionerMotion 1 positioner motion
00181508 CS PositionerType 1 positioner
00181510 DS PositionerPrimaryAngle deg primary angle
00181511 DS PositionerSecondaryAngle deg secondary angle
00181700 CS CollimatorShape 1 collimator shape
00185010 LO TransducerData 1 transducer
00185012 DS FocusDepth cm focus
00185020 LO ProcessingFunction 1 processing
00185022 DS MechanicalIndex 1 MI
00185024 DS BoneThermalIndex 1 TIB
00185026 DS CranialThermalIndex 1 TIC
00185027 DS SoftTissueThermalIndex 1 TIS
00185050 IS DepthOfScanField mm depth
00185100 CS PatientPosition 1 position
00185101 CS ViewPosition 1 view
00186000 DS Sensitivity 1 S
00186030 UL TransducerFrequency kHz frequency
00186031 CS TransducerType 1 transducer type
00186032 UL PulseRepetitionFrequency Hz PRF
00186034 FD DopplerCorrectionAngle deg Doppler angle
00186036 FD SteeringAngle deg steering
00187001 DS DetectorTemperature Cel detector temperature
00187004 CS DetectorType 1 detector
00187014 DS DetectorActiveTime ms detector time
0018704C DS GridFocalDistance mm grid focus
00187050 CS FilterMaterial 1 filter material
00187052 DS FilterThicknessMinimum mm filter min
00187054 DS FilterThicknessMaximum mm filter max
00187060 CS ExposureControlMode 1 AEC
00187062 LT ExposureControlModeDescription 1 AEC description
00187064 CS ExposureStatus 1 exposure status
00187065 DS PhototimerSetting 1 phototimer
00188150 DS ExposureTimeInuS us time
00188151 DS XRayTubeCurrentInuA uA uA
00189005 SH PulseSequenceName 1 sequence
00189008 CS EchoPulseSequence 1 echo type
00189009 CS InversionRecovery 1 IR
00189025 CS SpectrallySelectedSuppression 1 suppression
00189058 US MRAcquisitionFrequencyEncodingSteps 1 frequency steps
00189069 FD ParallelReductionFactorInPlane 1 R
00189073 FD AcquisitionDuration s acquisition time
00189075 CS DiffusionDirectionality 1 directionality
00189077 CS ParallelAcquisition 1 parallel
00189078 CS ParallelAcquisitionTechnique 1 parallel technique
00189079 FD InversionTimes ms TI
00189081 CS PartialFourier 1 partial Fourier
00189082 FD EffectiveEchoTime ms TE
00189087 FD DiffusionBValue s/mm2 b
00189089 FD DiffusionGradientOrientation 1 diffusion direction
00189091 FD VelocityEncodingMinimumValue cm/s venc min
00189098 FD TransmitterFrequency MHz frequency
00189100 CS ResonantNucleus 1 nucleus
00189181 FD SpecificAbsorptionRateValue W/kg SAR
00189217 FD VelocityEncodingMaximumValue cm/s venc
00189231 US MRAcquisitionPhaseEncodingStepsInPlane 1 phase steps
00189232 US MRAcquisitionPhaseEncodingStepsOutOfPlane 1 partition steps
00189240 US RFEchoTrainLength 1 ETL
00189241 US GradientEchoTrainLength 1 EPI factor
00189302 CS AcquisitionType 1 scan type
00189305 FD RevolutionTime s rotation
00189306 FD SingleCollimationWidth mm single collimation
00189307 FD TotalCollimationWidth mm collimation
00189309 FD TableSpeed mm/s table speed
00189310 FD TableFeedPerRotation mm table feed
00189311 FD SpiralPitchFactor 1 pitch
00189315 CS ReconstructionAlgorithm 1 reconstruction
00189323 CS ExposureModulationType 1 modulation
00189328 FD ExposureTimeInms ms time
00189330 FD XRayTubeCurrentInmA mA mA
00189332 FD ExposureInmAs mAs mAs
00189335 FD DistanceSourceToDataCollectionCenter mm SID
00189345 FD CTDIvol mGy CTDIvol
00189739 US NumberOfIterations 1 iterations
00189740 US NumberOfSubsets 1 subsets
00200105 IS NumberOfTemporalPositions 1 phases
00200110 DS TemporalResolution ms temporal resolution
00280030 DS PixelSpacing mm pixel
00280031 DS ZoomFactor 1 zoom
00280051 CS CorrectedImage 1 corrections
00400302 US EntranceDose dGy entrance dose
00400314 DS HalfValueLayer mm HVL
00400316 DS OrganDose dGy AGD
00400318 CS OrganExposed 1 organ
00408302 DS EntranceDoseInmGy mGy entrance dose
00540011 US NumberOfEnergyWindows 1 energy windows
00540014 DS EnergyWindowLowerLimit keV energy low
00540015 DS EnergyWindowUpperLimit keV energy high
00540018 SH EnergyWindowName 1 energy window
00540021 US NumberOfDetectors 1 detectors
00540051 US NumberOfRotations 1 rotations
00540053 US NumberOfFramesInRotation 1 views
00540071 US NumberOfTimeSlots 1 time slots
00540202 CS TypeOfDetectorMotion 1 detector motion
00541000 CS SeriesType 1 series type
00541001 CS Units 1 units
00541002 CS CountsSource 1 counts source
00541006 CS SUVType 1 SUV type
00541100 CS RandomsCorrectionMethod 1 randoms
00541101 LO AttenuationCorrectionMethod 1 attenuation
00541102 CS DecayCorrection 1 decay correction
00541103 LO ReconstructionMethod 1 reconstruction
00541105 LO ScatterCorrectionMethod 1 scatter
00541200 DS AxialAcceptance deg axial acceptance
00541210 DS CoincidenceWindowWidth ns coincidence
00541300 DS FrameReferenceTime ms frame reference
00541320 DS SliceSensitivityFactor 1 slice sensitivity
00541321 DS DecayFactor 1 decay factor
00541322 DS DoseCalibrationFactor 1 calibration
00541323 DS ScatterFractionFactor 1 scatter fraction
00541324 DS DeadTimeFactor 1 dead time
"""


class Condition(NamedTuple):
    """One attribute that can be an imaging condition.

    Args:
        keyword: DICOM keyword, such as RepetitionTime.
        tag: eight hexadecimal digits, as in DICOM JSON (PS3.18 F.2).
        vr: value representation (PS3.5 6.2).
        unit: UCUM code; 1 where the value is a bare number or no number at all.
        label: what people at a scanner call it.
    """

    keyword: str
    tag: str
    vr: str
    unit: str
    label: str


class DescribedCondition(NamedTuple):
    """A condition with its value: the text as in DICOM, and as numbers where every value is one."""

    keyword: str
    tag: str
    vr: str
    unit: str
    label: str
    text: str
    numbers: tuple[float, ...]


def _rows() -> dict[str, Condition]:
    rows = (line.split(maxsplit=4) for line in _TABLE.strip().splitlines())
    return {keyword: Condition(keyword, tag, vr, unit, label) for tag, vr, keyword, unit, label in rows}


CONDITIONS: Mapping[str, Condition] = _rows()
"""Every condition, by keyword, in the order of tags."""


def _named(keywords: str) -> tuple[Condition, ...]:
    return tuple(CONDITIONS[keyword] for keyword in dict.fromkeys(keywords.split()))


_EVERY = """
ProtocolName PatientPosition ScanOptions ContrastBolusAgent ContrastBolusVolume ContrastBolusTotalDose
ContrastBolusIngredientConcentration ContrastFlowRate ContrastFlowDuration AcquisitionDuration
"""
_SLICES = "SliceThickness SpacingBetweenSlices PixelSpacing ReconstructionDiameter"
_TUBE = """
KVP XRayTubeCurrent XRayTubeCurrentInmA XRayTubeCurrentInuA ExposureTime ExposureTimeInms ExposureTimeInuS
Exposure ExposureInmAs ExposureInuAs ExposureModulationType GeneratorPower FocalSpots FilterType
FilterMaterial FilterThicknessMinimum FilterThicknessMaximum AnodeTargetMaterial DistanceSourceToDetector
DistanceSourceToPatient
"""
_PROJECTION = f"""
{_TUBE} ViewPosition TypeOfFilters ImagerPixelSpacing BodyPartThickness EntranceDose EntranceDoseInmGy
ImageAndFluoroscopyAreaDoseProduct EstimatedRadiographicMagnificationFactor RelativeXRayExposure Sensitivity
ExposureIndex TargetExposureIndex DeviationIndex ExposureControlMode ExposureControlModeDescription
ExposureStatus PhototimerSetting Grid GridFocalDistance FieldOfViewShape FieldOfViewDimensions
CollimatorShape AcquisitionDeviceProcessingDescription AcquisitionDeviceProcessingCode
"""
_CINE = "FrameTime CineRate RecommendedDisplayFrameRate HeartRate"
_FLUOROSCOPY = f"""
{_PROJECTION} {_CINE} PositionerType PositionerMotion PositionerPrimaryAngle PositionerSecondaryAngle
ColumnAngulation TableMotion TableAngle RadiationSetting RadiationMode AveragePulseWidth IntensifierSize
"""
_DETECTOR = f"""
{_PROJECTION} DetectorType DetectorTemperature DetectorActiveTime PositionerType PositionerPrimaryAngle
PositionerSecondaryAngle
"""
_TRACER = """
Radiopharmaceutical RadiopharmaceuticalRoute RadiopharmaceuticalVolume RadiopharmaceuticalStartTime
RadiopharmaceuticalStartDateTime RadiopharmaceuticalStopTime RadionuclideTotalDose RadionuclideHalfLife
RadionuclidePositronFraction PatientWeight PatientSize Units CountsSource CountsAccumulated
ActualFrameDuration CorrectedImage EnergyWindowName EnergyWindowLowerLimit EnergyWindowUpperLimit
CollimatorType NumberOfTimeSlots LowRRValue HighRRValue HeartRate
"""

_MR = f"""
{_EVERY} {_SLICES} RepetitionTime EchoTime EffectiveEchoTime InversionTime InversionTimes FlipAngle
VariableFlipAngleFlag ScanningSequence SequenceVariant SequenceName PulseSequenceName EchoPulseSequence
MRAcquisitionType EchoNumbers EchoTrainLength RFEchoTrainLength GradientEchoTrainLength InversionRecovery
TriggerTime NumberOfAverages MagneticFieldStrength ImagingFrequency TransmitterFrequency ImagedNucleus
ResonantNucleus PixelBandwidth NumberOfPhaseEncodingSteps MRAcquisitionFrequencyEncodingSteps
MRAcquisitionPhaseEncodingStepsInPlane MRAcquisitionPhaseEncodingStepsOutOfPlane PercentSampling
PercentPhaseFieldOfView AcquisitionMatrix InPlanePhaseEncodingDirection ParallelAcquisition
ParallelAcquisitionTechnique ParallelReductionFactorInPlane PartialFourier SpectrallySelectedSuppression SAR
SpecificAbsorptionRateValue dBdt ReceiveCoilName TransmitCoilName NumberOfTemporalPositions
TemporalResolution DiffusionBValue DiffusionGradientOrientation DiffusionDirectionality
VelocityEncodingMinimumValue VelocityEncodingMaximumValue HeartRate
"""
_CT = f"""
{_EVERY} {_TUBE} {_SLICES} SpiralPitchFactor AcquisitionType ConvolutionKernel ReconstructionAlgorithm
RevolutionTime SingleCollimationWidth TotalCollimationWidth TableSpeed TableFeedPerRotation TableHeight
GantryDetectorTilt RotationDirection DataCollectionDiameter DistanceSourceToDataCollectionCenter CTDIvol
WaterEquivalentDiameter
"""
_PT = f"""
{_EVERY} {_TRACER} {_SLICES} SUVType SeriesType FrameReferenceTime DecayCorrection DecayFactor
RandomsCorrectionMethod AttenuationCorrectionMethod ScatterCorrectionMethod ScatterFractionFactor
DeadTimeFactor DoseCalibrationFactor SliceSensitivityFactor ReconstructionMethod NumberOfIterations
NumberOfSubsets ConvolutionKernel CoincidenceWindowWidth AxialAcceptance
"""
_NM = f"""
{_EVERY} {_TRACER} {_SLICES} CollimatorGridName FocalDistance ZoomFactor NumberOfDetectors
NumberOfEnergyWindows NumberOfRotations NumberOfFramesInRotation TypeOfDetectorMotion ScanArc AngularStep
RadialPosition ScanVelocity WholeBodyTechnique AcquisitionTerminationCondition FieldOfViewShape
FieldOfViewDimensions
"""
_US = f"""
{_EVERY} {_CINE} TransducerType TransducerData TransducerFrequency ProcessingFunction
PulseRepetitionFrequency DepthOfScanField FocusDepth MechanicalIndex BoneThermalIndex CranialThermalIndex
SoftTissueThermalIndex DopplerCorrectionAngle SteeringAngle
"""
_CR = f"""
{_EVERY} {_PROJECTION} PlateType PhosphorType CassetteOrientation CassetteSize ExposuresOnPlate
"""
_DX = f"{_EVERY} {_DETECTOR}"
_MG = f"{_EVERY} {_DETECTOR} CompressionForce OrganDose OrganExposed HalfValueLayer PaddleDescription"
_XA = f"{_EVERY} {_FLUOROSCOPY}"
_REST = f"{_EVERY} {_SLICES} {_TUBE} {_CINE}"

OF_MODALITY: Mapping[str, tuple[Condition, ...]] = {
    "MR": _named(_MR),
    "CT": _named(_CT),
    "PT": _named(_PT),
    "NM": _named(_NM),
    "US": _named(_US),
    "IVUS": _named(_US),
    "CR": _named(_CR),
    "DX": _named(_DX),
    "IO": _named(_DX),
    "PX": _named(_DX),
    "MG": _named(_MG),
    "XA": _named(_XA),
    "RF": _named(_XA),
    "RG": _named(_CR),
}
"""Conditions by Modality (0008,0060), the most telling first."""

OF_THE_REST = _named(_REST)
"""Conditions of every other modality."""

# One attribute, two units: MBq in the NM Isotope Module (PS3.3 C.8.4.10), Bq in the PET one (PS3.3 C.8.9.2).
_UNIT_IN_MODALITY = {("NM", "RadionuclideTotalDose"): "MBq"}

_NUMERIC = frozenset({"DS", "IS", "FD", "FL", "SS", "US", "SL", "UL", "SV", "UV"})


def conditions_of(modality: str) -> tuple[Condition, ...]:
    """The conditions that say how an image of this Modality (0008,0060) was made."""
    return OF_MODALITY.get(modality, OF_THE_REST)


def describe(keyword: str, text: str, modality: str = "") -> DescribedCondition:
    """Everything about a condition; never raises.

    Args:
        keyword: as in the event. One that isn't in the vocabulary is its own label, without tag, VR and unit.
        text: as in the event. Where one of its values is no finite number, `numbers` is empty.
        modality: of the image, for the attributes whose unit depends on it.
    """
    known = CONDITIONS.get(keyword)
    if known is None:
        return DescribedCondition(keyword, "", "", "", keyword, text, ())
    unit = _UNIT_IN_MODALITY.get((modality, keyword), known.unit)
    numbers = _numbers(text) if known.vr in _NUMERIC else ()
    return DescribedCondition(keyword, known.tag, known.vr, unit, known.label, text, numbers)


def _numbers(text: str) -> tuple[float, ...]:
    if "_" in text:  # 1_000 is a number to Python, not to DICOM
        return ()
    try:
        numbers = tuple(float(value) for value in text.split("\\"))
    except ValueError:
        return ()
    return numbers if all(math.isfinite(number) for number in numbers) else ()
