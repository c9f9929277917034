"""Databases that must not be used are refused with the command that repairs them."""

from urllib.parse import urlsplit, urlunsplit

import pytest

from storage.database import connect_once
from storage.preflight import DatabaseRefused, connect_checked


async def refusal(url):
    with pytest.raises(DatabaseRefused) as caught:
        await connect_checked(url)
    return str(caught.value)


def as_user(url, user):
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}@"))


@pytest.fixture
async def made(postgres):
    """Makes databases with the given options, and drops them."""
    urls = []

    async def make(options=""):
        urls.append(await postgres.empty(options))
        return urls[-1]

    yield make
    for url in urls:
        await postgres.drop(url)


@pytest.fixture
async def stranger(postgres):
    name = f"stranger_{postgres.worker}"
    await postgres.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    await postgres.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_a_good_database_passes(pg_url):
    conn = await connect_checked(pg_url)
    await conn.close()


async def test_encoding(made):
    url = await made("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    text = await refusal(url)
    assert "encoding SQL_ASCII, not UTF8" in text
    assert "createdb --template=template0 --encoding=UTF8 --locale=C" in text
    assert "pg_dump" in text


@pytest.mark.parametrize(
    "options",
    [
        "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'",
        "LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'",
        "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C'",
    ],
)
async def test_collation(made, options):
    url = await made(f"TEMPLATE template0 ENCODING 'UTF8' {options}")
    text = await refusal(url)
    assert "C.UTF-8" in text
    assert "not by C" in text
    assert "createdb" in text


async def test_database_that_does_not_exist(pg_url):
    text = await refusal(urlunsplit(urlsplit(pg_url)._replace(path="/nowhere")))
    assert "'nowhere' does not exist" in text
    assert "createdb" in text


async def test_no_right_to_create_tables(made, stranger):
    text = await refusal(as_user(await made(), stranger))
    assert "may not create tables" in text
    assert f'TO "{stranger}"' in text


async def test_the_remedy_for_missing_rights_works(made, stranger):
    url = await made()
    text = await refusal(as_user(url, stranger))
    conn = await connect_once(url)
    await conn.execute(text.partition("superuser: ")[2])
    await (await connect_checked(as_user(url, stranger))).close()
    await conn.execute(f'ALTER DATABASE "{urlsplit(url).path[1:]}" OWNER TO CURRENT_USER')
    await conn.execute(f"DROP OWNED BY {stranger}")
    await conn.close()


async def test_tables_of_another_user(made, stranger):
    url = await made()
    conn = await connect_once(url)
    await conn.execute(f"CREATE TABLE ours (n bigint); GRANT CREATE ON SCHEMA public TO {stranger}")
    text = await refusal(as_user(url, stranger))
    assert "belong to" in text
    assert "REASSIGN OWNED BY" in text
    await conn.execute(f"DROP OWNED BY {stranger}")
    await conn.close()


async def test_a_database_that_refuses_writes(made, postgres):
    url = await made()
    name = urlsplit(url).path[1:]
    await postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "refuses all writes" in await refusal(url)


async def test_no_right_to_connect(made, postgres, stranger):
    url = await made()
    await postgres.execute(f"REVOKE CONNECT ON DATABASE {urlsplit(url).path[1:]} FROM PUBLIC")
    assert "GRANT CONNECT" in await refusal(as_user(url, stranger))


async def test_unknown_user(pg_url):
    assert "correct user and password" in await refusal(as_user(pg_url, "nobody_knows"))


@pytest.mark.parametrize("url", ["mysql://localhost/x", "postgresql://localhost:port/x"])
async def test_url_that_cannot_be_read(url):
    assert "postgresql://USER:PASSWORD@HOST/DATABASE" in await refusal(url)


async def test_nobody_listens(unused_tcp_port):
    assert "cannot be reached" in await refusal(f"postgresql://someone@127.0.0.1:{unused_tcp_port}/x")
