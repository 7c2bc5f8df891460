"""The sandbox stops what a model has no business with. Each attempt has its control: outside, the same thing works."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.this_host import available
from tests.walled_in import Place, run_in

if available().name != "full":
    pytest.skip(f"this host has no whole sandbox: {available().missing}", allow_module_level=True)

ATTEMPT = """
try:
    enter()
    {code}
    say("done")
except OSError as error:
    say(errno.errorcode.get(error.errno, str(error)))
"""

FORBIDDEN = {
    "read a secret": 'assert (OUTSIDE / "secret").read_text()',
    "read the accounts of the host": 'assert Path("/etc/passwd").read_text()',
    "read the environment of the parent": 'Path(f"/proc/{os.getppid()}/environ").read_bytes()',
    "read the environment of another process": 'Path(f"/proc/{TARGET}/environ").read_bytes()',
    "read by way of its own root": 'assert Path("/proc/self/root/etc/passwd").read_text()',
    "list a folder": "os.listdir(OUTSIDE)",
    "list its own workspace": "os.listdir(workspace.root)",
    "write outside": '(OUTSIDE / "new").write_text("x")',
    "shorten a file": 'os.truncate(OUTSIDE / "secret", 0)',
    "delete a file": '(OUTSIDE / "secret").unlink()',
    "change the model's file": 'model.open("ab").close()',
    "hold up who opens the model": "import fcntl; fcntl.fcntl(model.open('rb'), fcntl.F_SETLEASE, fcntl.F_WRLCK)",
    "link the model's file to where it may write": 'os.link(model, "mine")',
    "move a file in": '(OUTSIDE / "secret").rename("mine")',
    "leave a link that leads astray": 'os.symlink("/etc/passwd", "link")',
    "leave a pipe that blocks its reader": 'os.mkfifo("pipe")',
    "connect by TCP": 'socket.create_connection(("127.0.0.1", PORT), 5).close()',
    "listen on TCP": 'socket.create_server(("127.0.0.1", 0)).close()',
    "send by UDP": 'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT))',
    "connect to a socket file": 'socket.socket(socket.AF_UNIX).connect(str(OUTSIDE / "socket"))',
    "make sockets that can send to any name": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "start a program": 'subprocess.run(["/bin/true"], check=True)',
    "start a program by posix_spawn": 'os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)',
    "become a program": 'os.execv("/bin/sh", ["sh", "-c", "echo \'\\"done\\"\'"])',
    "fork": "os.fork() or os._exit(0)",
    "end another process": "os.kill(TARGET, signal.SIGTERM)",
    "signal its parent": "os.kill(os.getppid(), 0)",
    "signal by descriptor": "signal.pidfd_send_signal(os.pidfd_open(TARGET), 0)",
    "limit another process": "__import__('resource').prlimit(TARGET, 7, (64, 64))",
    "slow another process down": "os.setpriority(os.PRIO_PROCESS, TARGET, 19)",
    "trace another process": "checked(libc.ptrace(16, TARGET, 0, 0))",
    "outlive its owner": "checked(libc.prctl(1, 0, 0, 0, 0))",
    "leave the group that is killed": "os.setsid()",
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with (
        subprocess.Popen(["sleep", "300"]) as target,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as named,
    ):
        place = Place.beneath(tmp_path, target_pid=target.pid, port=server.getsockname()[1])
        named.bind(str(place.outside / "socket"))
        named.listen()
        yield place
        target.kill()


@pytest.mark.parametrize("code", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_works_outside_is_refused_inside(place: Place, code: str) -> None:
    inside = run_in(place, ATTEMPT.format(code=code), "require")
    outside = run_in(place, ATTEMPT.format(code=code), "off")

    assert outside == "done", "the control"
    assert inside in ("EPERM", "EACCES", "EXDEV")  # the last one: Landlock, for links and moves between folders


# Nonsense is given, so that nothing happens outside either: there the kernel gets as far as to look at it.
RAW = {
    "process_vm_readv": ("EPERM", "-1, 0, 0, 0, 0, 1"),
    "pidfd_getfd": ("EPERM", "-1, -1, 1"),
    "kcmp": ("EPERM", "os.getpid(), os.getpid(), 99, 0, 0"),
    "mount": ("EPERM", "0, 0, 0, 0, 0"),
    "open_tree": ("EPERM", "-1, 0, 0"),
    "setns": ("EPERM", "-1, 0"),
    "unshare": ("EPERM", "-1"),
    "keyctl": ("EPERM", "9999"),
    "bpf": ("EPERM", "9999, 0, 0"),
    "perf_event_open": ("EPERM", "0, 0, -1, -1, 0"),
    "userfaultfd": ("EPERM", "-1"),
    "name_to_handle_at": ("EPERM", "-1, 0, 0, 0, 0"),
    "finit_module": ("EPERM", "-1, 0, 0"),
    "execveat": ("EPERM", "-1, 0, 0, 0, 0"),
    "tkill": ("EPERM", "-1, 0"),
    "rt_tgsigqueueinfo": ("EPERM", "os.getppid(), os.getppid(), 0, 0"),
    "setpriority": ("EPERM", "9, 0, 0"),
    "ioprio_set": ("EPERM", "9, 0, 0"),
    "shmctl": ("EPERM", "-1, 99, 0"),
    "shmat": ("EPERM", "-1, 0, 0"),
    "semctl": ("EPERM", "-1, 0, 99, 0"),
    "semop": ("EPERM", "-1, 0, 0"),
    "semtimedop": ("EPERM", "-1, 0, 0, 0"),
    "msgctl": ("EPERM", "-1, 99, 0"),
    "msgsnd": ("EPERM", "-1, 0, 0, 0"),
    "msgrcv": ("EPERM", "-1, 0, 0, 0, 0"),
    "sendto": ("EPERM", "-1, 0, 0, 0, 1, 1"),
    "io_uring_setup": ("ENOSYS", "0, 0"),
    "memfd_create": ("ENOSYS", "0, 0"),
    "memfd_secret": ("ENOSYS", "99"),
    "clone3": ("ENOSYS", "0, 0"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_call_that_engines_do_not_need_is_denied(place: Place, name: str) -> None:
    refused, arguments = RAW[name]
    code = ATTEMPT.format(code=f"call(syscalls.number({name!r}, syscalls.architecture()), {arguments})")
    code = f"from inference.runner.sandbox import syscalls\n{code}"

    inside = run_in(place, code, "require")
    outside = run_in(place, code, "off")

    if outside == refused:
        pytest.skip("refused outside as well: not root, or an older kernel")
    assert inside == refused


BY_REQUEST = {
    "lease": ("fcntl", 1024),
    "watch a folder": ("fcntl", 1026),
    "delegation": ("fcntl", 1040),
    "flags of a file": ("ioctl", 0x40086602),
    "flags, 32 bits": ("ioctl", 0x40046602),
    "version of a file": ("ioctl", 0x40087602),
    "version, 32 bits": ("ioctl", 0x40047602),
    "flags of XFS": ("ioctl", 0x401C5820),
    "verity": ("ioctl", 0x40806685),
}


@pytest.mark.parametrize(("name", "request_number"), BY_REQUEST.values(), ids=BY_REQUEST.keys())
def test_a_request_that_changes_a_file_open_for_reading_is_denied(place: Place, name: str, request_number: int) -> None:
    code = ATTEMPT.format(code=f"call(syscalls.number({name!r}, syscalls.architecture()), -1, {request_number}, 0)")
    code = f"from inference.runner.sandbox import syscalls\n{code}"

    assert run_in(place, code, "off") == "EBADF", "the control"
    assert run_in(place, code, "require") == "EPERM"


CHANGES = {
    "mode": 'os.chmod(OUTSIDE / "secret", 0o777)',
    "owner": 'os.chown(OUTSIDE / "secret", os.getuid(), os.getgid())',
    "times": 'os.utime(OUTSIDE / "secret", (5, 5))',
    "mode of the model in the store": "file = model.open('rb'); os.fchmod(file.fileno(), 0o777)",
    "attributes": 'os.setxattr(OUTSIDE / "secret", "user.note", b"x")',
}


@pytest.mark.parametrize("code", CHANGES.values(), ids=CHANGES.keys())
def test_a_foreign_file_keeps_what_a_model_believes_to_have_changed(place: Place, code: str) -> None:
    def facts() -> object:
        files = (place.outside / "secret", place.workspace.model_directory / "model")
        stats = [path.stat() for path in files]
        return [
            (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_ctime_ns) for stat in stats
        ], os.listxattr(files[0])

    before = facts()

    assert run_in(place, ATTEMPT.format(code=code), "require") == "done", "an error would break engines' caches"
    assert facts() == before
    if run_in(place, ATTEMPT.format(code=code), "off") != "ENOTSUP":
        assert facts() != before, "the control"


ALLOWED = {
    "threads": "import concurrent.futures as f; assert list(f.ThreadPoolExecutor(4).map(abs, [-1] * 9)) == [1] * 9",
    "its model": 'assert model.read_text() == "a model"',
    "its own files": "Path('a').write_text('x'); os.rename('a', 'b'); os.mkdir('c'); os.rename('b', 'c/b');"
    " os.truncate(os.open('c/b', os.O_RDWR), 0); os.unlink('c/b'); os.rmdir('c')",
    "temporary files": "import tempfile; tempfile.TemporaryFile().write(b'x'); tempfile.TemporaryDirectory().cleanup()",
    "asyncio": "import asyncio; asyncio.run(asyncio.sleep(0.001))",
    "signals to itself": "signal.signal(signal.SIGUSR1, print); os.kill(os.getpid(), signal.SIGUSR1);"
    " signal.raise_signal(signal.SIGUSR1)",
    "its own memory and processors": "assert Path('/proc/self/statm').read_text() and os.cpu_count()"
    " and Path('/proc/cpuinfo').read_text() and os.sched_getaffinity(0) and os.urandom(8)",
    "its own priority": "os.setpriority(os.PRIO_PROCESS, 0, 19); os.setpriority(os.PRIO_PROCESS, os.getpid(), 19)",
    "devices": "Path('/dev/null').write_text('x'); Path('/dev/urandom').open('rb').read(8)",
    "pictures": "import io; from PIL import Image, features; i = Image.new('RGB', (9, 9));"
    " [(b := io.BytesIO(), i.save(b, f), b.seek(0), Image.open(b).load())"
    " for f in ('PNG', 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP')]",
    "numpy and its threads": "import numpy; a = numpy.ones((900, 900), 'f4'); assert (a @ a)[0, 0] == 900",
    "HDF5": "import h5py; f = h5py.File('a', 'w'); f['x'] = [1, 2]; f.close(); assert h5py.File('a')['x'][1] == 2",
    "a name that is not there": "assert not Path('/usr/no-such-file').exists()",
}


@pytest.mark.parametrize("code", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_engines_need_works_inside(place: Place, code: str) -> None:
    assert run_in(place, ATTEMPT.format(code=code), "require") == "done"


def test_threads_that_start_later_are_inside(place: Place) -> None:
    code = """
seen = []
def attempt():
    try:
        seen.append((OUTSIDE / "secret").read_text())
    except PermissionError:
        seen.append("refused")
enter()
thread = threading.Thread(target=attempt)
thread.start()
thread.join()
say(seen)
"""
    assert run_in(place, code, "require") == ["refused"]
    assert run_in(place, code, "off") == ["a secret"]


def test_only_named_descriptors_stay_open(place: Place) -> None:
    code = """
enter()
def is_open(descriptor):
    try:
        os.fstat(descriptor)
        return True
    except OSError:
        return False
say([is_open(descriptor) for descriptor in PIPE])
"""
    kept, other = os.pipe()
    code = f"PIPE = ({kept}, {other})\n{code}"
    try:
        assert run_in(place, code, "require", kept=(kept,), passed=(kept, other)) == [True, False]
        assert run_in(place, code, "off", kept=(kept,), passed=(kept, other)) == [True, True]
    finally:
        os.close(kept)
        os.close(other)


def test_an_inherited_listening_socket_goes_on_working(place: Place) -> None:
    code = """
enter()
listener = socket.socket(fileno=json.loads(KEPT)[0])
listener.listen(5)
connection, _ = listener.accept()
connection.sendall(connection.recv(16).upper())
say("answered")
"""
    path = place.workspace.root / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(path))
        listener.listen()
        client.connect(str(path))
        client.sendall(b"hello")
        kept = (listener.fileno(),)

        assert run_in(place, code, "require", kept=kept, passed=kept) == "answered"
        assert client.recv(16) == b"HELLO"


def test_root_gives_up_its_rights(place: Place) -> None:
    code = """
enter()
status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
names = ("CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp")
say([int(status[name], 16) for name in names])
"""
    assert run_in(place, code, "require") == [0, 0, 0, 0, 1, 2]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the 32-bit calls are those of x86")
def test_calls_by_the_numbers_of_32_bits_end_the_process(place: Place) -> None:
    """`mov eax, 20; int 0x80; ret`: getpid under its old number. A filter on numbers alone would not see `execve`."""
    code = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))
enter()
say(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))() == os.getpid())
"""
    outside = run_in(place, code, "off")

    if outside is not True:
        pytest.skip("this kernel takes no calls of 32 bits")
    assert run_in(place, code, "require") == -31  # SIGSYS


def test_entries_of_proc_are_held_open(place: Place) -> None:
    """Without that, /proc/cpuinfo and /proc/self were refused after `echo 2 > /proc/sys/vm/drop_caches`: tried."""
    code = """
enter()
say([os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")])
"""
    held = run_in(place, code, "require")

    assert {"/proc/cpuinfo", "/proc/meminfo"} <= set(held)


CUDA = """
os.environ["CUDA_VISIBLE_DEVICES"] = "0"
def named(kind, name):
    with socket.socket(socket.AF_UNIX, kind) as mine:
        mine.bind(name)
"""
"""Where a GPU is given; `require` refuses to go on in less than the whole sandbox."""
A_NAME = f"\\0of-a-test-{os.getpid()}"

AS_CUDA_DOES = {
    "name a socket": f'named(socket.SOCK_SEQPACKET, "{A_NAME}")',
    "name its threads": 'open("/proc/self/comm", "w").write("cuda")',
    "open a device as if it were new": 'open("/dev/null", "w").write("x")',
}
NOT_AS_CUDA_DOES = {
    "a socket that sends to any name": f'named(socket.SOCK_DGRAM, "{A_NAME}")',
    "a socket in a folder": 'named(socket.SOCK_STREAM, "named")',
    "the network": "socket.create_server(('127.0.0.1', 0)).close()",
    "a socket of others": 'socket.socket(socket.AF_UNIX).connect(str(OUTSIDE / "socket"))',
    "a program": 'subprocess.run(["/bin/true"], check=True)',
}


@pytest.mark.parametrize("code", AS_CUDA_DOES.values(), ids=AS_CUDA_DOES.keys())
def test_where_there_is_a_gpu_cuda_can_start(place: Place, code: str) -> None:
    assert run_in(place, CUDA + ATTEMPT.format(code=code), "require") == "done"


@pytest.mark.parametrize("code", NOT_AS_CUDA_DOES.values(), ids=NOT_AS_CUDA_DOES.keys())
def test_a_gpu_opens_nothing_else(place: Place, code: str) -> None:
    inside = run_in(place, CUDA + ATTEMPT.format(code=code), "require")
    outside = run_in(place, CUDA + ATTEMPT.format(code=code), "off")

    assert outside == "done", "the control"
    assert inside in ("EPERM", "EACCES")
