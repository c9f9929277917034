"""`homeserver application-services …`: what operators are told of registrations, and of running services."""

import asyncio
import json

import pytest
import yaml
from aiohttp import web
from attrs import evolve
from click.testing import CliRunner

from homeserver.app.application_service_commands import application_service_group
from homeserver.app.application_service_files import application_services
from homeserver.app.options import Failure
from tests.kit.application_service import listening, registered, registration_of
from tests.kit.server import plain_config, running


def call(*arguments):
    return CliRunner().invoke(
        application_service_group, [str(argument) for argument in arguments], env={"DATABASE_URL": None}
    )


def write(folder, name, document):
    path = folder / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_a_good_file_is_explained(tmp_path):
    irc = write(tmp_path, "irc.yaml", registration_of("irc", users=["@_irc_.*"], url="http://127.0.0.1:1"))
    done = call("check", irc, "--data", tmp_path)
    assert done.exit_code == 0
    assert done.output == (
        "irc: @irc_sender:localhost, pushed to http://127.0.0.1:1\n  users   @_irc_.*  (its own alone)\n"
    )


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ("a: [", "is not YAML"),
        ("[]", "must hold a mapping"),
        ({**registration_of("irc"), "as_token": ""}, "as_token: must be a string"),
    ],
)
def test_a_bad_one_is_refused_with_its_place(tmp_path, document, fault):
    path = write(tmp_path, "irc.yaml", document)
    done = call("check", path, "--data", tmp_path)
    assert done.exit_code == 1
    assert f"{path}: " in done.output
    assert fault in done.output


def test_files_that_clash_or_are_missing_stop_the_start(tmp_path):
    write(tmp_path, "one.yaml", registration_of("irc"))
    write(tmp_path, "two.yaml", registration_of("irc"))
    section = evolve(registered(tmp_path), files=["one.yaml", "two.yaml", "three.yaml"])
    with pytest.raises(Failure) as caught:
        application_services(plain_config(tmp_path, application_services=section))
    assert "id 'irc' is that of" in str(caught.value)
    assert "three.yaml: cannot be read: No such file" in str(caught.value)
    assert call("check", "--data", tmp_path).output == "the configuration names no application services\n"


async def test_services_that_run_are_listed(pg_url, tmp_path):
    async with listening("irc") as irc:
        section = registered(
            tmp_path, registration_of("irc", rooms=["!"], url=irc.url), registration_of("quiet")
        )
        config = plain_config(tmp_path, application_services=section)

        async def broken(request, told):
            return web.Response(status=500)

        irc.answer = broken
        async with running(pg_url, config) as server:
            alice = await server.register("alice")
            await alice.post("/v3/createRoom", {})
            await irc.until(lambda: irc.asked)

            async def listed(*more):
                done = await asyncio.to_thread(call, "list", "--data", tmp_path, "--url", server.url, *more)
                assert done.exit_code == 0, done.output
                return done.output

            await irc.until(lambda: len(irc.asked) > 1)  # the first failure has been noted
            told = await listed("--json")
            found = json.loads(told[told.index("[\n  {") : told.rindex("]") + 1])
            assert found[0]["state"] == "down"
            assert found[0]["last_error"] == "an answer of 500"
            assert found[0]["waiting_bytes"] > 100
            assert found[0]["behind"] > 0
            assert (found[1]["id"], found[1]["state"]) == ("quiet", "not pushed")
            assert "an answer of 500" in await listed()
            irc.answer = None
            done = await asyncio.to_thread(call, "retry", "irc", "--data", tmp_path, "--url", server.url)
            assert "irc is being tried now\n" in done.output
            await irc.until(lambda: irc.transactions)
            done = await asyncio.to_thread(call, "retry", "quiet", "--data", tmp_path, "--url", server.url)
            assert done.exit_code == 1
            assert await alice.refused("GET", "/_synapse/admin/v1/application_services") == (
                403,
                "M_FORBIDDEN",
            )
