"""The directory: who holds a contract with the service, and what it says."""

from medbus.projections.directory.contract import Contract, Credential, evolve
from medbus.projections.directory.projection import DirectoryProjection
from medbus.projections.directory.reader import ContractFilter, DirectoryReader

__all__ = ["Contract", "ContractFilter", "Credential", "DirectoryProjection", "DirectoryReader", "evolve"]
