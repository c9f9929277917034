"""Rounds of every load against every server, alternating, so that what disturbs one disturbs the other."""

from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

from benchmarks.figures import Better, Figure, compare
from benchmarks.profiler import recorded
from benchmarks.results import LoadResult
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

Runs = list[list[Figure]]


@frozen
class Runner:
    """Runs loads against one or both servers. `profile` is a folder for what our server did."""

    ours: Site | None
    theirs: Site | None
    scale: Scale
    profile: Path | None

    @property
    def sites(self) -> list[Site]:
        return [site for site in (self.ours, self.theirs) if site is not None]

    async def run(self, scenario: Scenario) -> LoadResult:
        """One load: prepared on each server, then round by round."""
        bearers = [site for site in self.sites if site is self.ours or not scenario.alone]
        rounds = {site.name: await scenario.prepare(site, self.scale) for site in bearers}
        runs: dict[str, Runs] = {site.name: [] for site in self.sites}
        for _ in range(1 if scenario.once else self.scale.rounds):
            for site in bearers:
                runs[site.name].append(await self._one(site, scenario.name, rounds[site.name]))
        return self._result(scenario.name, scenario.title.format(scale=self.scale), runs)

    async def memory(self, idle: dict[str, int]) -> LoadResult:
        """Resident memory before the first load, given as `idle`, and now."""
        runs: dict[str, Runs] = {}
        for site in self.sites:
            await site.gauge.quiet()
            now = Figure("MB resident after the loads", site.gauge.resident_bytes() / 1e6, Better.LESS)
            runs[site.name] = [[Figure("MB resident when started", idle[site.name] / 1e6, Better.LESS), now]]
        return self._result("memory", "Memory of the server, without its database", runs)

    async def idle_memory(self) -> dict[str, int]:
        memory = {}
        for site in self.sites:
            await site.gauge.quiet()
            memory[site.name] = site.gauge.resident_bytes()
        return memory

    async def _one(self, site: Site, name: str, once: Round) -> list[Figure]:
        async with recorded(site.server_pid, self.profile if site is self.ours else None, name):
            return await once()

    def _result(self, name: str, title: str, runs: dict[str, Runs]) -> LoadResult:
        ours = runs[self.ours.name] if self.ours else []
        theirs = runs[self.theirs.name] if self.theirs else []
        return LoadResult(name, title, tuple(compare(ours, theirs)))


Show = Callable[[LoadResult], None]


async def run_all(runner: Runner, scenarios: Sequence[Scenario], show: Show) -> list[LoadResult]:
    """All loads, each shown when it is done; the memory after those that both have borne, then the others."""
    idle = await runner.idle_memory()
    results: list[LoadResult] = []

    async def run(wanted: Sequence[Scenario]) -> None:
        for scenario in wanted:
            results.append(await runner.run(scenario))
            show(results[-1])

    await run([scenario for scenario in scenarios if not scenario.alone])
    results.append(await runner.memory(idle))
    show(results[-1])
    await run([scenario for scenario in scenarios if scenario.alone])
    return results
