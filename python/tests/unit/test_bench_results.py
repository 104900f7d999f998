"""The bench's table: rows of the measurements, with words where there is no number."""

from ci.bench import results
from ci.bench.measure import no_samples

ROLLOUTS = {
    "rollout_1_gap": {"ours": [0.5, 0.75], "peer": []},
    "rollout_1_lost": {"ours": [0, 0], "peer": [5, 4]},
    "rollout_3_gap": {"ours": [0.25], "peer": [1.5]},
    "rollout_3_lost": {"ours": [0], "peer": [4]},
}


DOCKER = {
    "first_result": {"ours": [0.5], "peer": [1], "bare": [0.25], "local_kernel": [0.25]},
    "answered": {"ours": [0.5], "peer": [1]},
    "restart": {"ours": [0.5], "peer": [2]},
}


def table(make=results.rows, **measured):
    samples = no_samples()
    samples["failed_starts"].update(ours=[0], peer=[0])
    for name, of in measured.items():
        samples[name].update(of)
    return {row.title: row for row in make(samples)}


def test_a_measurement_that_was_not_taken_has_no_row():
    assert list(table()) == ["Failed starts in this run"]


def test_the_row_of_gaps_has_the_longest_and_the_peers_lost_kernels():
    rows = table(**ROLLOUTS)
    one, three = (rows[f"Longest gap in a rollout, {each}"] for each in ("1 replica", "3 replicas"))
    assert (one.ours, one.peer, one.peer_is) == (0.75, None, "kernels lost")
    assert (three.ours, three.peer, three.peer_is) == (0.25, 1.5, "")
    assert "| 0.75 | kernels lost | - |" in results.markdown(list(rows.values()))


def test_kernels_that_we_lose_miss_the_target():
    lost = {**ROLLOUTS, "rollout_1_lost": {"ours": [0, 1], "peer": [5, 5]}}
    [missed] = results.misses(list(table(**lost).values()))
    assert missed == "Kernels of 5 lost in a rollout, 1 replica: 1, not <= 0"


def test_the_baseline_of_an_adoption_is_a_start_without_kernels():
    measured = {f"adoption_{count}": {"ours": [1 + count / 100]} for count in (0, 1, 50, 500)}
    memory = {f"adoption_{count}_memory": {"ours": [1e8]} for count in (0, 500)}
    row = table(**measured, **memory)["Adoption of 500 kernels, simulated"]
    assert row.of_baseline == 6
    assert row.of_peer is None


def test_the_baseline_of_a_start_on_docker_is_a_bare_container():
    row = table(results.docker_rows, **DOCKER)["Cold start, first result"]
    assert (row.of_peer, row.of_baseline) == (0.5, 1)
    assert row.baseline_is == "bare container started + kernel start on this host"


def test_a_peer_that_cannot_restart_kernels_fails_in_the_table():
    fails = {**DOCKER, "restart": {"ours": [0.5], "peer": []}}
    for measured, peer, words in ((DOCKER, 2, ""), (fails, None, "fails")):
        row = table(results.docker_rows, **measured)["Restart, first result"]
        assert (row.peer, row.peer_is, row.missed()) == (peer, words, [])


CLIENTS = {
    "client_start": {"ours": [1, 2], "gateway": [1, 1]},
    "client_start_added": {"ours": [0.25, 0.1, 0.15]},
    "client_round_trip": {"ours": [0.008], "gateway": [0.004]},
    "client_bulk": {"ours": [0.5], "gateway": [0.4]},
}


def test_a_kernelspec_is_compared_with_the_websocket_alone():
    rows = table(results.client_rows, **CLIENTS)
    assert rows["Execute round trip"].of_baseline == 2
    assert rows["60 outputs of 1 MB"].targets == "<= 1.43x baseline"
    assert rows["Time that the kernelspec adds to a start"].ours == 150
    assert results.misses(list(rows.values())) == [
        "Execute round trip: 2.00x the baseline (the gateway's websocket alone), not <= 1.5x"
    ]
