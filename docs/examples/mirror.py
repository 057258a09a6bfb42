#!/usr/bin/env python3
"""mirror.py URL DIR: make DIR a copy of the tree that tidemark-serve publishes at URL.

One pass of a small client, written from docs/protocol.md alone. It asks for the
root's listing with the ETag of its last complete pass, descends only where a
directory's stamp is not the one it recorded, and records a stamp last, when all
below is copied. It exits with 0 if DIR is complete, with 1 if something has to
wait for the next pass, and with 2 if the source is not the one it copied before:
to follow it all the same, remove DIR/.tidemark/example.json.

Not for production. tidemark-mirror also bounds deletions, asks in parallel and in
bulk, waits for changes, and compares checksums where it fetches files anew here.
"""
import http.client, json, os, re, shutil, stat, sys
from urllib.parse import quote, urlsplit

PRUNING = {"watched", "auditing", "audited", "mirrored", "stale"}


class Incomplete(Exception):
    """Something is not copied in this pass; its directory stays incomplete."""


class Refused(Exception):
    """The source is not the one that was copied before."""


def nanoseconds(stamp):
    sign, seconds, fraction = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]{0,9}))?", stamp).groups()
    n = int(seconds) * 10**9 + int((fraction or "").ljust(9, "0"))
    return -n if sign else n


def unescape(text):
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), text)


class Line:
    """A line of a listing: the directory itself, or one entry of it."""

    def __init__(self, line):
        stamp, name, size, attributes = re.fullmatch(rb"(\S+) (\S+)\t([0-9]+|-)((?:\t[^\t]*)*)", line).groups()
        self.stamp, self.ns = stamp.decode(), nanoseconds(stamp.decode())
        self.is_dir, self.is_link = name.endswith(b"/"), size == b"-" and not name.endswith(b"/")
        self.name, self.size = unescape(name.removesuffix(b"/")), 0 if size == b"-" else int(size)
        self.attributes = dict(a.split(b"=", 1) for a in attributes.split(b"\t")[1:])

    def get(self, key, default=""):
        return os.fsdecode(unescape(self.attributes[key.encode()])) if key.encode() in self.attributes else default

    def strange(self):
        return any(key[:1].isupper() for key in self.attributes)


def parse(body):
    """Returns the self line and the entries. A listing that is not whole is Incomplete."""
    lines = body.split(b"\n")
    if lines.pop() != b"" or not lines or not lines[-1].startswith(b"#end "):
        raise Incomplete("the listing ends early")
    try:
        top, *entries = [Line(line) for line in lines if not line.startswith(b"#")]
    except (AttributeError, ValueError):
        raise Incomplete("not a listing")
    names = [e.name for e in entries]
    if lines[-1] != b"#end %d" % len(entries) or names != sorted(set(names)) or top.strange():
        raise Incomplete("not a listing that this program understands")
    if any(not 0 < len(n) < 256 or b"/" in n or b"\0" in n or n in (b".", b"..", b".tidemark") for n in names):
        raise Incomplete("a listing with a name that must not be")
    return top, entries


class Mirror:
    def __init__(self, url, root):
        self.url, self.root = urlsplit(url), os.fsencode(root)
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(self.url.netloc, timeout=60)
        own = os.path.join(self.root, b".tidemark")  # a name that no listing can hold
        os.makedirs(own, exist_ok=True)
        self.memory, self.aside = os.path.join(own, b"example.json"), os.path.join(own, b"example.new")
        self.requests, self.fetched, self.deleted = 0, 0, 0
        try:
            with open(self.memory) as f:
                self.known = json.load(f)
        except FileNotFoundError:
            self.known = {"etag": None, "tree": None, "epoch": 0, "run": None, "dirs": {}}

    def get(self, path, **headers):
        """Asks for a path of the tree. Only what carries Tidemark-Version is the server's answer."""
        self.requests += 1
        try:
            self.connection.request("GET", self.url.path.rstrip("/") + "/" + path,
                                    headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = self.connection.getresponse()
            if answer.getheader("Tidemark-Version") and answer.status in (200, 304, 403):
                return answer
            reason = f"{answer.status} {answer.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = error
        self.connection.close()
        raise Incomplete(reason)

    def run(self):
        """Makes one pass and returns whether the copy is complete."""
        etag = self.known["etag"] if self.stamp("", self.root) else None
        answer = self.get("?txt", **({"If_None_Match": etag} if etag else {}))
        self.check(answer)
        if answer.status == 304 and etag:
            answer.read()
            return True
        self.known["etag"] = None
        self.save()  # which run of watch it lists is noted before anything is taken
        complete = self.visit("", self.root, answer)
        if complete and self.prunes:
            self.known["etag"] = answer.getheader("ETag")
        self.save()
        return complete

    def save(self):
        with open(self.memory + b".new", "w") as f:
            json.dump(self.known, f)
        os.rename(self.memory + b".new", self.memory)

    def check(self, answer):
        """Refuses another tree, an older lineage of the tree, and a tree that was rolled back."""
        tree, epoch = answer.getheader("Tidemark-Tree"), int(answer.getheader("Tidemark-Epoch", 0))
        runs = dict(run.split() for run in answer.getheader("Tidemark-Runs", "").split(",") if run)
        self.state, self.source = answer.getheader("Tidemark-State"), (tree, epoch)
        self.prunes = self.state in PRUNING
        if self.known["tree"]:
            run, listed = self.known["run"] or (None, None)
            if tree != self.known["tree"]:
                raise Refused("another tree")
            if epoch < self.known["epoch"]:
                raise Refused("an older lineage of the tree")
            if run and (run not in runs or runs[run] != "-" and nanoseconds(listed) > nanoseconds(runs[run])):
                raise Refused("the tree was rolled back")
        run = [list(runs)[-1], answer.getheader("Tidemark-Stamp")] if runs else None
        self.known.update(tree=tree, epoch=epoch, run=run)

    def stamp(self, path, local):
        """The recorded stamp of a directory of the copy; None if it is incomplete or was changed since."""
        stamp = self.known["dirs"].get(path, {}).get("stamp")
        return stamp if stamp and os.lstat(local).st_mtime_ns == nanoseconds(stamp) else None

    def visit(self, path, local, answer=None, listed=None):
        """Makes a directory of the copy like its listing and returns whether it is complete, all below it too."""
        answer = answer or self.get(path + "?txt")
        body = answer.read()
        if answer.status == 403 and path:
            return True  # not readable; when it becomes readable the stamps above it move
        if answer.status != 200:
            raise Incomplete(f"{answer.status} {answer.reason}")
        top, entries = parse(body)
        if (answer.getheader("Tidemark-Tree"), int(answer.getheader("Tidemark-Epoch", 0))) != self.source:
            raise Incomplete("the source changed its tree or epoch meanwhile")
        if self.known["run"] and top.ns > nanoseconds(self.known["run"][1]):
            self.known["run"][1] = top.stamp
        tag = re.search("-txt-([0-9a-f]{6})", answer.getheader("ETag", ""))
        fingerprint = tag[1] if tag else None
        old = self.known["dirs"].get(path, {})
        names = dict(old["names"]) if old and old["id"] == top.get("id") else {}
        record = self.known["dirs"][path] = {"stamp": None, "id": top.get("id"), "names": names}
        complete = not top.get("hot")
        if listed and listed.stamp != top.stamp:  # a later one is right, too; an older one may be a cache's
            complete &= self.prunes and listed.ns < top.ns <= nanoseconds(top.get("now", "0"))
        for entry in entries:
            name = quote(entry.name)
            try:
                whole = self.bring(path + name, os.path.join(local, entry.name), entry, names.get(name), fingerprint)
                if whole and not entry.get("hot"):
                    names[name] = [fingerprint, entry.get("ctime")]
                    continue
            except (Incomplete, OSError) as error:
                print(f"{path}{name}: {error}", file=sys.stderr)
            complete = False
        if complete and self.state != "filling":
            for name in set(os.listdir(local)) - {e.name for e in entries} - {b".tidemark"}:
                self.delete(path, os.path.join(local, name), quote(name), top, names, fingerprint)
        if complete:
            os.utime(local, ns=(top.ns, top.ns))
            record["stamp"] = top.stamp
        return complete

    def bring(self, path, local, entry, known, fingerprint):
        """Makes one entry of the copy like its line and returns whether it is complete."""
        if entry.strange():
            raise Incomplete("an attribute that this program does not know")
        here = os.lstat(local) if os.path.lexists(local) else None
        mode = int(entry.get("mode", "755"), 8)
        if entry.is_dir:
            if here and not stat.S_ISDIR(here.st_mode):
                os.unlink(local)
            if not here or not stat.S_ISDIR(here.st_mode):
                os.mkdir(local)
            os.chmod(local, mode | 0o700)
            pruned = (self.prunes and not entry.get("hot") and known and fingerprint and known[0] == fingerprint
                      and self.stamp(path + "/", local) == entry.stamp)
            complete = pruned or self.visit(path + "/", local, listed=entry)
            os.chmod(local, mode)
            return complete
        kind = stat.S_ISLNK if entry.is_link else stat.S_ISREG
        if here and kind(here.st_mode) and here.st_mtime_ns == entry.ns and known and known[1] == entry.get("ctime") \
                and (entry.is_link or here.st_size == entry.size):
            return True
        if os.path.lexists(self.aside):
            os.unlink(self.aside)
        if entry.is_link:
            os.symlink(os.fsencode(entry.get("link")), self.aside)
        elif not self.fetch(path, entry):
            return True  # not readable, as above
        else:
            os.chmod(self.aside, mode)
        os.utime(self.aside, ns=(entry.ns, entry.ns), follow_symlinks=False)
        if here and stat.S_ISDIR(here.st_mode):
            shutil.rmtree(local)
        os.rename(self.aside, local)
        self.fetched += 1
        return True

    def fetch(self, path, entry):
        """Brings a file under a temporary name and returns False if it is not readable."""
        tag = f'"{entry.stamp}-{entry.size}-{entry.get("ctime")}"'
        answer = self.get(path, If_Match=tag)  # a change while it is sent cuts the connection
        if answer.status == 403:
            answer.read()
            return False
        try:
            if answer.status != 200 or answer.getheader("ETag") != tag:
                raise Incomplete("not the file that was listed")
            with open(self.aside, "wb") as f:
                shutil.copyfileobj(answer, f)
                os.fsync(f.fileno())
                if f.tell() != entry.size:
                    raise Incomplete("a file of another length")
            return True
        except (Incomplete, OSError, http.client.HTTPException) as error:
            self.connection.close()
            raise Incomplete(error)

    def delete(self, path, local, name, top, names, fingerprint):
        """Deletes what a whole listing lacks, unless the source may have it and not list it."""
        excluded, hidden, covered = (int(top.get(key, "0")) for key in ("excluded", "hidden", "covered"))
        is_dir = os.path.isdir(local) and not os.path.islink(local)
        shown = fingerprint and names.get(name, [None])[0] == fingerprint  # with the server's present options
        if excluded and (is_dir or covered or not shown) or hidden > excluded and name.startswith("."):
            return
        shutil.rmtree(local) if is_dir else os.unlink(local)
        names.pop(name, None)
        self.known["dirs"] = {p: d for p, d in self.known["dirs"].items() if not p.startswith(path + name + "/")}
        self.deleted += 1


def main():
    mirror = Mirror(*sys.argv[1:])
    try:
        status = 0 if mirror.run() else 1
    except (Incomplete, Refused) as error:
        print(error, file=sys.stderr)
        status = 2 if isinstance(error, Refused) else 1
    print(f"{mirror.requests} requests, {mirror.fetched} fetched, {mirror.deleted} deleted")
    sys.exit(status)


if __name__ == "__main__":
    main()
