"""Registration files of application services: read, checked, and refused with sentences [as "Registration"]."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from homeserver.app.config import Config
from homeserver.app.options import Failure
from homeserver.core.application_service_files import RegistrationFaults, clashes, registration
from homeserver.core.application_services import ApplicationService, ApplicationServices


def application_services(config: Config) -> ApplicationServices:
    """Those that the configuration names. Raises Failure where one is faulty."""
    files = [config.server.folder / name for name in config.application_services.files]
    services, faults = read_registrations(files, config.server.name)
    if faults:
        raise Failure("\n".join(["the application services cannot be used:", *faults]))
    return ApplicationServices(services)


def read_registrations(files: Sequence[Path], server_name: str) -> tuple[list[ApplicationService], list[str]]:
    """The services of some files, and all that is wrong with any of them."""
    found: list[tuple[str, ApplicationService]] = []
    faults: list[str] = []
    for file in files:
        try:
            found.append((str(file), registration(_document(file), server_name)))
        except RegistrationFaults as cause:
            faults += [f"{file}: {fault}" for fault in cause.faults]
    return [service for _, service in found], faults + clashes(found)


def _document(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as cause:
        raise RegistrationFaults([f"cannot be read: {cause.strerror}"]) from cause
    except UnicodeDecodeError as cause:
        raise RegistrationFaults(["is not UTF-8"]) from cause
    except yaml.YAMLError as cause:
        raise RegistrationFaults([f"is not YAML: {' '.join(str(cause).split())}"]) from cause
