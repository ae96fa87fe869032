"""The playground in a browser, against what the runs say in this process."""

import contextlib
import functools
import http.client
import http.server
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import types
import unicodedata
import urllib.request

import numpy as np
import pytest

from experiments.playground import command_line
from lstm_keras import load_run
from lstm_keras.preprocessing import TOKENIZERS, join_tokens
from tests.helpers.browser import grave_findings, in_a_browser, opened
from tests.helpers.models import write_language_run

HOSTILE = "not <img src=x onerror=alert(1)> ${alert(1)} {{constructor}} `x` </iframe>"
SECONDS = 120_000  # milliseconds, for a busy machine


@pytest.fixture(scope="module")
def language_run(tmp_path_factory):
    """Return the folder of a next-word run that nobody has trained."""
    return write_language_run(tmp_path_factory.mktemp("language") / "run", "stream")


# What is refused before Keras and gradio. Oracle: their import fails.


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("missing", "expected a run folder; there is none at missing"),
        ("broken", "expected JSON"),
        ("memory", "expected a run of imdb_sentiment or next_word; .* of memory"),
        ("no-model", "expected model.keras in the run folder no-model"),
        ("sentiment language", "expected two runs of one experiment; received one of"),
        ("sentiment --static full", "expected a new or an empty folder"),
        ("sentiment --static new --runtime broken", "the npm package onnxruntime-web"),
        ("sentiment --static new", "expected npm, which comes with Node.js"),
        ("sentiment sentiment sentiment", "at most two runs; received 3"),
        ("sentiment --static new --share", "--static with one run"),
        ("sentiment --runtime new", "--runtime with --static"),
        ("sentiment --port 0", "--port"),
        ("sentiment --port {busy}", "expected a free port; received --port"),
        ("sentiment --static full/config.json/page", "exists|Not a directory"),
        ("sentiment --static link", "expected a new or an empty folder"),
    ],
)
def test_what_is_wrong_is_refused_first(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    for name in ("lstm_keras", "gradio"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "onnx", types.ModuleType("onnx"))
    kinds = {
        "sentiment": "imdb_sentiment",
        "language": "next_word",
        "memory": "memory",
        "no-model": "next_word",
    }
    for folder, kind in kinds.items():
        (tmp_path / folder).mkdir()
        for name in ("config.json", "vocabulary.json", "model.keras"):
            (tmp_path / folder / name).write_text(f'{{"experiment": "{kind}"}}')
    (tmp_path / "no-model/model.keras").unlink()
    for name in ("broken", "full"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{")
    (tmp_path / "link").symlink_to("full")
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = argv.format(busy=server.getsockname()[1])
        with pytest.raises(SystemExit) as error:
            command_line.main(argv.split())
    assert re.search(message, f"{error.value} {capsys.readouterr().err}")
    assert not (tmp_path / "new").exists()


def test_what_npm_says_when_it_fails_is_told(language_run, tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho npm error network unreachable >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "onnx", types.ModuleType("onnx"))
    with pytest.raises(SystemExit, match=r"could not fetch .* network unreachable"):
        command_line.main([str(language_run), "--static", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_without_gradio_the_command_says_what_to_install(language_run, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # restored afterwards
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "experiments.playground.server", raising=False)
    with pytest.raises(SystemExit, match=r"need gradio; .* 'lstm_keras\[playground\]'"):
        command_line.main([str(language_run)])


def test_without_onnx_npm_fetches_nothing(language_run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # npm would be missed
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SystemExit, match=r"need onnx; .* 'lstm_keras\[onnx\]'"):
        command_line.main([str(language_run), "--static", str(tmp_path / "new")])


# The page of a server.


@pytest.fixture(scope="module")
def served():
    """Return a function from folders of runs to the address of their page."""
    pytest.importorskip("gradio")
    from experiments.playground import server

    apps = {}

    def address(*folders):
        if folders not in apps:
            apps[folders] = server.start([load_run(folder) for folder in folders])
        return apps[folders].local_url

    yield address
    server.close(*apps.values())


def set_number(page, name, value):
    """Type a number, and give the page time to take it: it does so when one leaves."""
    field = page.get_by_label(f"number input for {name}")
    field.fill(value)
    field.press("Tab")
    page.wait_for_timeout(1000)


def ask(page, text):
    """Type a text and Enter."""
    page.get_by_label("Text").fill(text)
    page.get_by_label("Text").press("Enter")


def answers(page):
    """The answers of the runs, once their words are explained."""
    frames = [one.content_frame for one in page.locator("iframe.answer").all()]
    for frame in frames:
        frame.locator("#words [aria-selected=true]").wait_for(timeout=SECONDS)
    return frames


def verdict_of(run, text):
    """What the page should say of a text."""
    said = run.predict(text)
    return (
        f"{said.label.capitalize()}: the probability of “positive” is "
        f"{said.probability:.3f}."
    )


@in_a_browser
@pytest.mark.thorough
def test_two_runs_say_what_they_think_of_a_typed_text(served, sentiment_run):
    run = load_run(sentiment_run)
    with opened(served(sentiment_run, sentiment_run)) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        text = f"The film was {HOSTILE} good."
        ask(page, text)
        page.locator("iframe.answer").nth(1).wait_for(timeout=SECONDS)
        first, second = answers(page)
        for frame in (first, second):
            assert frame.locator(".finding").inner_text() == verdict_of(run, text)
            words = frame.locator("#words [role=option]").all_inner_texts()
            assert words == run.read(text)[1]
            assert any("[UNK]" in word for word in words)
            assert frame.locator("img").count() == 0
        # The frame is as tall as its page.
        assert page.locator("iframe.answer").first.bounding_box()["height"] > 1000
        # By keyboard a word is chosen, and a unit.
        first.locator("#words").focus()
        page.keyboard.press("Home")
        assert "Word 0" in first.locator("#detail h3").inner_text()
        first.locator("#unit").select_option("2")
        assert "unit 2" in first.locator("#detail").inner_text()


@in_a_browser
@pytest.mark.thorough
def test_an_example_is_asked_by_keyboard_on_a_dark_phone(served, sentiment_run):
    run = load_run(sentiment_run)
    with opened(served(sentiment_run), 390, "dark") as page:
        example = page.get_by_role("button", name="I loved every moment of it.")
        example.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('textarea').value")
        page.get_by_role("button", name="What does the model say?").focus()
        page.keyboard.press("Enter")
        page.locator("iframe.answer").wait_for(timeout=SECONDS)
        (frame,) = answers(page)
        found = frame.locator(".finding").inner_text()
        assert found == verdict_of(run, "I loved every moment of it.")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert not grave_findings(page)


@in_a_browser
@pytest.mark.thorough
def test_a_text_without_known_words_and_one_that_is_too_long(served, sentiment_run):
    with opened(served(sentiment_run)) as page:
        ask(page, "xyzzy")
        frame = page.frame_locator("iframe.answer")
        frame.get_by_text("No label: the model knows none").wait_for(timeout=SECONDS)
        ask(page, "x" * 5001)
        error = page.get_by_text("expected at most 5,000 characters; received 5,001")
        error.wait_for(timeout=SECONDS)


@in_a_browser
@pytest.mark.thorough
def test_ten_users_at_once_each_get_their_answer(served, sentiment_run):
    run = load_run(sentiment_run)
    address = served(sentiment_run)
    with opened(address) as page:
        users = [page.context.browser.new_page() for _ in range(10)]
        texts = [f"The film was {'very ' * n}good." for n in range(10)]
        for user in users:
            user.goto(address)
        page.wait_for_timeout(5000)  # a page that is seen may not answer to keys yet
        for user, text in zip(users, texts, strict=True):
            ask(user, text)
        for user, text in zip(users, texts, strict=True):
            user.locator("iframe.answer").wait_for(timeout=SECONDS)
            (frame,) = answers(user)
            assert frame.locator(".finding").inner_text() == verdict_of(run, text)
            user.close()


@in_a_browser
@pytest.mark.thorough
def test_a_click_on_a_bar_appends_the_word(served, language_run):
    run = load_run(language_run)
    with opened(served(language_run, language_run)) as page:
        prompt = page.get_by_label("Beginning of a text")
        prompt.fill("The cat <b>")
        bars = page.locator(".bars").first.locator("button")
        shown = run.next_words("The cat <b>", 10)
        expected = [
            f"{'[new line]' if word == '[END]' else word}\n{probability:.1%}"
            for word, probability in shown
        ]
        page.get_by_text("does not know: <, b, >").first.wait_for(timeout=SECONDS)
        assert bars.all_inner_texts() == expected
        place = next(i for i, (word, _) in enumerate(shown) if word.isalpha())
        bars.nth(place).press("Enter")
        page.wait_for_function(
            "document.querySelector('textarea').value !== 'The cat <b>'"
        )
        assert prompt.input_value() == f"The cat <b> {shown[place][0]}"
        prompt.fill("x" * 5001)
        error = page.get_by_text("expected at most 5,000 characters; received 5,001")
        error.first.wait_for(timeout=SECONDS)
        assert page.locator(".bars").count() == 0


@in_a_browser
@pytest.mark.thorough
def test_a_written_text_grows(served, language_run):
    run = load_run(language_run)
    watch = """() => {
      window.seen = new Set();
      setInterval(() => window.seen.add(document.querySelector(
        "textarea[disabled]").value), 1);
    }"""
    with opened(served(language_run), 390, "dark") as page:
        page.get_by_label("Beginning of a text").fill("The cat")
        page.get_by_role("button", name="How to write").click()
        set_number(page, "Temperature", "0")
        page.evaluate(watch)
        page.get_by_role("button", name="Write", exact=True).click()
        whole = run.generate("The cat", tokens=40).text
        text = page.get_by_label("Written text")
        page.wait_for_function(f"window.seen.has({whole!r})", timeout=SECONDS)
        assert text.input_value() == whole
        seen = sorted(page.evaluate("[...window.seen]"), key=len)
        assert len(seen) > 5 and all(whole.startswith(one) for one in seen)
        set_number(page, "Beams", "3")
        page.get_by_role("button", name="Write", exact=True).click()
        whole = run.generate("The cat", tokens=40, beam=3).text
        page.wait_for_function(f"window.seen.has({whole!r})", timeout=SECONDS)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert not grave_findings(page)


@pytest.mark.thorough
@pytest.mark.parametrize("backwards", [False, True])
def test_a_text_is_written_word_by_word(backwards, tmp_path):
    gradio = pytest.importorskip("gradio")
    from experiments.playground.next_word import extended, written

    run = load_run(write_language_run(tmp_path / "run", "lines", backwards))
    texts = list(written(run, "The cat", 12, 0.0, 0, 1.0, 0))
    assert texts[-1] == run.generate("The cat", tokens=12).text
    assert len({*texts}) >= len(texts) - 1 > 1  # the end adds nothing to see
    # With beams, too, the page can stop after each word.
    texts = list(written(run, "The cat", 12, 0.0, 0, 1.0, 2))
    assert texts[-1] == run.generate("The cat", tokens=12, beam=2).text
    assert len(texts) > 1
    several = {[*written(run, "", 12, 2.0, 5, 0.9, 0)][-1] for _ in range(5)}
    assert len(several) > 1
    word = run.vocabulary.id_of("sat")
    assert extended(run, "The cat", word) == (
        "Sat The cat" if backwards else "The cat sat"
    )
    for wrong in (3, len(run.vocabulary), -1, "4", True, None, 1e9, [1]):
        with pytest.raises(gradio.Error, match="expected the id of a word") as error:
            extended(run, "The cat", wrong)
        assert not error.value.print_exception


@pytest.mark.thorough
def test_only_this_machine_is_served_and_nothing_else_may_be_loaded(
    served, sentiment_run
):
    address = served(sentiment_run)
    with urllib.request.urlopen(address) as answer:
        policy = answer.headers["Content-Security-Policy"]
        page = answer.read().decode()
    assert policy.startswith("default-src 'self' ") and "http" not in policy
    assert "fonts.g" not in page and "cdn" not in page
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way_out:
        way_out.connect(("192.0.2.1", 9))  # sends nothing
        own = way_out.getsockname()[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own, int(address.rstrip("/").rpartition(":")[2])), 5)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("queue/join", {}, 422),
        ("queue/join", {"Host": "evil.example"}, 400),
        ("queue/join", {"Content-Length": 100_001}, 413),
        ("queue/join", {"Transfer-Encoding": "chunked"}, 413),
        ("upload", {"Content-Length": 1}, 403),
        ("run/ask_all", {"Content-Length": 12}, 404),
    ],
)
def test_a_request_that_the_page_never_makes_is_refused(
    path, headers, status, served, sentiment_run
):
    address = served(sentiment_run).removeprefix("http://").rstrip("/")
    headers = {"Content-Type": "application/json", "Host": address, **headers}
    with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as client:
        body = b'{"data":[1]}' if status == 404 else None
        client.request("POST", f"/gradio_api/{path}", body, headers)
        assert client.getresponse().status == status


@pytest.mark.thorough
def test_the_server_ends_by_a_signal_and_leaves_no_file(language_run, tmp_path):
    pytest.importorskip("gradio")
    proxy = "http://127.0.0.1:9"  # where nobody answers
    environment = {**os.environ, "TMPDIR": str(tmp_path), "HTTP_PROXY": proxy}
    command = [sys.executable, "-m", "experiments.playground", str(language_run)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        line = process.stdout.readline()
        assert re.match(r"The page is at http://127\.0\.0\.1:\d+/ ", line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not [*tmp_path.iterdir()]


# The page as files.


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Return a folder with the npm package that the page needs."""
    pytest.importorskip("onnx")
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    from experiments.playground import static_page

    folder = tmp_path_factory.mktemp("runtime")
    static_page._fetch(folder)
    return folder


@pytest.fixture(scope="module")
def page_of(runtime, tmp_path_factory):
    """Return a function from a run to the address of its page on a plain server."""
    servers = {}

    def address(run):
        if run not in servers:
            folder = tmp_path_factory.mktemp("static") / "page"
            words = [run, "--static", folder, "--runtime", runtime]
            command_line.main([*map(str, words)])
            handler = functools.partial(_Quiet, directory=folder)
            servers[run] = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=servers[run].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[run].server_address[1]}/"

    yield address
    for server in servers.values():
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Print nothing."""


def load_model(page):
    """Load the page's model, as `window.model`."""
    page.locator("#form").wait_for(timeout=SECONDS)
    page.evaluate(
        "async () => { window.model = await (await import('./model.js')).load(); }"
    )


def many_texts():
    """Texts of all signs that there are, and of what tokenizers take apart."""
    rng = random.Random(0)
    every = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]
    assigned = [one for one in every if unicodedata.category(one) not in ("Cn", "Co")]
    plain = [chr(i) for i in range(128)]
    pieces = """&amp; &#128; &#x1; &notit; &bogus; <br/> http://x.y/z. www. it's 've ...
        e.g. U.S.A. 3.5 10/10 a@b.com end.The ΑΣ İ ß ½ ™ @-@ “ ” " ' n't 9% $5 1,000
        \u200d 👩\u200d👩 👍🏽 🇩🇪 好 か \u00ad \u0307 film's
        constructor __proto__ toString""".split()
    pieces += ["\u0301" * 35, "\x1c", "\x85", "\ufeff", "\n", "  "]
    kinds = (every, assigned, plain, plain, pieces, pieces)
    return [
        "".join(rng.choice(rng.choice(kinds)) for _ in range(rng.randint(1, 40)))
        for _ in range(1500)
    ]


@in_a_browser
@pytest.mark.thorough
def test_the_tokenizers_of_the_browser_are_those_of_python(page_of, sentiment_run):
    texts = many_texts()
    texts += [f"a&#{i};b" for i in (*range(256), 0xD800, 0xFDD0, 0x1FFFF, 9999999)]
    tokenize = """([texts, name]) => texts.map((text) => {
      const tokens = window.model.tokenizers.tokenize(text, name);
      return [tokens, window.model.tokenizers.join(tokens, name)];
    })"""
    with opened(page_of(sentiment_run)) as page:
        load_model(page)
        for name, in_python in TOKENIZERS.items():
            for text, (tokens, joined) in zip(
                texts, page.evaluate(tokenize, [texts, name]), strict=True
            ):
                assert tokens == in_python(text), (name, text)
                assert joined == join_tokens(tokens, name), (name, text)


@in_a_browser
@pytest.mark.thorough
def test_a_page_of_files_classifies(page_of, sentiment_run):
    run = load_run(sentiment_run)
    texts = ["I loved it.", "", "bad " * 50, HOSTILE, "Not ein déjà-vu 好 film’s"]
    predict = "(texts) => Promise.all(texts.map((one) => window.model.predict(one)))"
    ids = "(texts) => texts.map((text) => window.model.encode(text))"
    with opened(page_of(sentiment_run), 390, "dark") as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        load_model(page)
        expected = run.predict(texts)
        found = page.evaluate(predict, texts)
        assert [one["label"] for one in found] == [one.label for one in expected]
        np.testing.assert_allclose(
            [one["probability"] for one in found],
            [one.probability for one in expected],
            atol=1e-4,
        )
        encoded = [one.tolist() for one in run.vocabulary.encode_all(texts)]
        assert page.evaluate(ids, texts) == encoded
        page.get_by_label("Text").fill(f"A good film {HOSTILE}")
        page.get_by_role("button").press("Enter")
        page.locator("#answer h2").wait_for()
        found = page.locator("#answer h2").inner_text()
        assert found == verdict_of(run, f"A good film {HOSTILE}")
        assert "alert" in page.locator("mark").all_inner_texts()
        assert "Words that it does not know: " in page.locator("#answer").inner_text()
        words = 2 * run.config["maxlen"]
        page.get_by_label("Text").fill("good " * words)
        page.get_by_role("button").press("Enter")
        read = f"The model has read the last {words // 2} of {words} words."
        page.get_by_text(read).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert not grave_findings(page)


@in_a_browser
@pytest.mark.thorough
@pytest.mark.parametrize("kind", [("stream", False), ("lines", False), ("lines", True)])
def test_a_page_of_files_continues(kind, page_of, tmp_path):
    folder = write_language_run(tmp_path / "run", *kind)
    run = load_run(folder)
    with opened(page_of(folder)) as page:
        load_model(page)
        for text in ("", "The cat", "The cat sat on.\nA mat"):
            found = page.evaluate("(text) => window.model.nextWords(text, 6)", text)
            np.testing.assert_allclose(
                [one["probability"] for one in found],
                [probability for _, probability in run.next_words(text, 6)],
                atol=1e-4,
            )
        page.get_by_label("Text").fill("The cat")
        bars = page.locator(".bars button")
        sat = bars.filter(has_text="sat")
        sat.wait_for()
        sat.press("Enter")
        page.wait_for_function("document.activeElement.closest('.bars')")
        expected = "Sat The cat" if kind[1] else "The cat sat"
        assert page.get_by_label("Text").input_value() == expected
        page.get_by_label("Temperature").fill("0")
        page.get_by_label("Words", exact=True).fill("12")
        page.get_by_role("button", name="Write").click()
        whole = run.generate(expected, tokens=12).text
        page.get_by_text(whole.replace("\n", " "), exact=True).and_(
            page.locator("p.text")
        ).wait_for(timeout=SECONDS)
        assert not grave_findings(page)
