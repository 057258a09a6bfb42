//go:build filesystems

package watch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/internal/testfs"
	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/watch"
	"tidemark/pkg/mtree/wire"
)

// eachWay runs a test with each backend.
func eachWay(t *testing.T, test func(t *testing.T, backend string)) {
	t.Parallel()
	for _, backend := range []string{"inotify", "fanotify", "none"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			test(t, backend)
		})
	}
}

// bind mounts a directory or a file a second time, until the returned function unmounts it:
// lazily, because fanotify keeps it busy.
func bind(t *testing.T, what, at string) (unmount func()) {
	t.Helper()
	must(t, syscall.Mount(what, at, "", syscall.MS_BIND, "")) // any name: mount(8) takes only text
	mounted := true
	unmount = func() {
		if mounted {
			mounted = false
			must(t, syscall.Unmount(at, syscall.MNT_DETACH))
		}
	}
	t.Cleanup(unmount)
	return unmount
}

// noteAs notes the stamps of another tree as if they had been seen at a path.
func (l *stampLog) noteAs(tree, at string) {
	for path, stamp := range stamps(l.t, tree) {
		path = filepath.Join(at, path)
		if l.seen[path] == nil {
			l.seen[path] = map[mtree.Stamp]bool{}
		}
		l.seen[path][stamp] = true
	}
}

// A mount that came below the root was not heard: no event tells of it, and the directory
// above kept its stamp. Its unmount was a loss at most. If fanotify had known the same file
// system by another mount, or as the root's own, nothing in it was heard from then on.
func TestMountsComeAndGo(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		for _, of := range []string{"another file system", "the root's"} {
			t.Run(of, func(t *testing.T) {
				away, other := newTree(t, "sub/deep/f = one"), newTree(t, "part/deep2/")
				root := newTree(t, "a/disk/below/g = two", "b/other/")
				if of == "another file system" {
					root = inMemory(t)
					must(t, os.MkdirAll(filepath.Join(root, "a/disk/below"), 0o755))
					must(t, os.MkdirAll(filepath.Join(root, "b/other"), 0o755))
				}
				testMountsComeAndGo(t, backend, root, away, other)
			})
		}
	})
}

func testMountsComeAndGo(t *testing.T, backend, root, away, other string) {
	in := func(path string) string { return filepath.Join(root, path) }
	r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
	r.sync()
	seen := logStamps(t, root)
	heard := func(dir string) {
		t.Helper()
		r.sync()
		seen.note()
		write(t, in(dir+"/new"), time.Now().String())
		r.sync()
		seen.fresh("heard", dir)
		seen.note()
	}
	for range 2 {
		seen.noteAs(away, "a/disk")
		unmount := bind(t, away, in("a/disk"))
		r.sync()
		seen.fresh("mounted", "a/disk/sub/deep")
		heard("a/disk/sub/deep")
		heard("a/disk")

		part := filepath.Join(other, "part")
		seen.noteAs(part, "b/other")
		nested := bind(t, part, in("b/other"))
		r.sync()
		seen.fresh("a part of the same file system", "b/other/deep2")
		heard("b/other/deep2")
		heard("a/disk/sub/deep")
		nested()
		r.sync()
		seen.fresh("gone again", "b/other")
		heard("a/disk/sub/deep")

		unmount()
		r.sync()
		seen.fresh("unmounted", "a/disk/below")
		heard("a/disk/below")
	}
	require.NotEqual(t, wire.Degraded, r.status().State, r.log)
}

// A mount over a file is no directory, but the stamp moves all the same when it comes or
// goes.
func TestMountedFile(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		for _, cross := range []bool{true, false} {
			other := newTree(t, "f = other")
			root := newTree(t, "a/b/f = one", "c/")
			r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: cross})
			seen := logStamps(t, root)
			unmount := bind(t, filepath.Join(other, "f"), filepath.Join(root, "a/b/f"))
			r.sync()
			seen.fresh("mounted", "a/b")
			seen.note()
			unmount()
			r.sync()
			seen.fresh("unmounted", "a/b")
		}
	})
}

// A change to a directory that a bind mount shows a second time is a change at both places.
// It was stamped at one.
func TestMountedWithinTheTree(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		root := newTree(t, "a/src/sub/f = one", "z/dst/", "z/part/", "y/file = over this", "x/far/")
		in := func(path string) string { return filepath.Join(root, path) }
		r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
		bind(t, in("a/src"), in("z/dst"))
		bind(t, in("a/src/sub"), in("x/far"))
		bind(t, in("a/src/sub/f"), in("y/file"))
		r.sync()
		for _, f := range []string{"a/src/sub/f", "z/dst/sub/f", "x/far/f"} {
			seen := logStamps(t, root)
			write(t, in(f), f)
			r.sync()
			for _, dir := range []string{"a/src/sub", "z/dst/sub", "x/far", "y"} {
				seen.fresh("written as "+f, dir)
			}
		}
		seen := logStamps(t, root)
		must(t, os.Mkdir(in("z/dst/new"), 0o755))
		r.sync()
		for _, dir := range []string{"a/src/new", "z/dst/new"} {
			seen.fresh("made", dir)
		}
		require.NotEqual(t, wire.Degraded, r.status().State, r.log)
	})
}

// A bind mount within the tree goes, or is covered. inotify had moved its watches to that place, and
// gave them up with it: nothing was heard at the first place from then on.
func TestUnmountedWithinTheTree(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		root, other := newTree(t, "a/src/sub/f = one", "z/dst/", "y/dst/"), newTree(t)
		in := func(path string) string { return filepath.Join(root, path) }
		r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
		heard := func(what string, dirs ...string) {
			t.Helper()
			r.sync()
			r.sync() // the Take that gives watches up
			seen := logStamps(t, root)
			write(t, in(dirs[0]+"/"+what), "new")
			r.sync()
			for _, dir := range dirs {
				seen.fresh(what, dir)
			}
		}
		unmount := bind(t, in("a/src"), in("z/dst"))
		heard("mounted", "a/src/sub", "z/dst/sub")
		unmount()
		heard("unmounted", "a/src/sub")
		bind(t, in("a/src"), in("z/dst"))
		bind(t, in("a/src/sub"), in("y/dst"))
		heard("mounted twice", "a/src/sub", "z/dst/sub", "y/dst")
		uncover := bind(t, other, in("z"))
		heard("covered", "a/src/sub", "y/dst")
		uncover()
		heard("uncovered", "a/src/sub", "z/dst/sub", "y/dst")
		bind(t, other, in("a")) // fanotify still tells of a/src
		heard("the first place covered", "z/dst/sub", "y/dst")
	})
}

// hearing returns what writes a file in each of some directories and requires that each write is stamped.
func (r *running) hearing(t *testing.T, root string) func(file string, dirs ...string) {
	return func(file string, dirs ...string) {
		t.Helper()
		r.sync()
		for _, dir := range dirs {
			seen := logStamps(t, root)
			write(t, filepath.Join(root, dir, file), "in "+dir)
			r.sync()
			seen.fresh(file, dir)
		}
	}
}

// One directory of a file system is mounted over another one of it, or shown elsewhere while the other
// one is covered. fanotify took the path by the mount that was covered, where there was nothing: no
// change in it was heard.
func TestMountsOneOverTheOther(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		root, other, empty := newTree(t, "a/", "b/", "c/in/"), newTree(t), newTree(t, "in/")
		testfs.Mount(t, other, "mount", "-t", "tmpfs", "tidemark", other)
		must(t, os.MkdirAll(filepath.Join(other, "one/two/deep"), 0o755))
		in := func(path string) string { return filepath.Join(root, path) }
		from := func(path string) string { return filepath.Join(other, path) }
		r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
		heard := r.hearing(t, root)
		bind(t, from("one"), in("a"))
		heard("one", "a", "a/two/deep")
		uncover := bind(t, from("one/two"), in("a"))
		heard("over it", "a", "a/deep")
		uncover()
		heard("uncovered", "a", "a/two/deep")
		bind(t, from("one/two"), in("b"))
		bind(t, empty, in("a"))
		heard("elsewhere", "a", "b", "b/deep")
		bind(t, from("one"), in("c/in"))
		uncover = bind(t, empty, in("c"))
		heard("covered above", "b", "b/deep", "c/in")
		uncover()
		heard("uncovered above", "b", "b/deep", "c/in", "c/in/two/deep")
	})
}

// A directory is shown a second time, within itself. inotify has one watch for both, and took the inner
// one for a directory that had been renamed: nothing below it was scanned or heard, in any audit.
func TestMountedInItself(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		root := newTree(t, "d/b/n/f = one", "d/k/")
		in := func(path string) string { return filepath.Join(root, path) }
		bind(t, in("d"), in("d/b"))
		for range 2 {
			r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
			for _, dir := range []string{"d/b/b/n", "d/b/b", "d/b/k", "d/b", "d/k", "d"} {
				seen := logStamps(t, root)
				write(t, in(dir+"/new"), "in "+dir)
				r.sync()
				seen.fresh("written", dir)
			}
			r.stop()
		}
	})
}

// The root is mounted within the tree. inotify told there of each stamp of the root, which then was a
// change below the root: watch stamped its own stamps, a hundred times a second, for ever.
func TestTheRootWithinItself(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		root := newTree(t, "b/d/", "c/x/f = one")
		in := func(path string) string { return filepath.Join(root, path) }
		bind(t, root, in("b/d"))
		r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
		for _, dir := range []string{"c/x", "b", "b/d/c/x"} {
			seen := logStamps(t, root)
			write(t, in(dir+"/new"), "in "+dir)
			r.sync()
			seen.fresh("written", dir)
		}
		if backend != "inotify" {
			return // fanotify does not tell of this process elsewhere, and without events each sync is an audit
		}
		was := stamps(t, root)
		for range 20 { // each waits for what is under way
			r.sync()
		}
		require.Equal(t, was, stamps(t, root), "quiet")
	})
}

// A directory is shown twice, and something is mounted in it at one of the places. inotify took both for
// one place, and heard either what is mounted, or what it covers there and the other place shows.
func TestMountedInWhatIsShownTwice(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		root := newTree(t, "b/p/n/f = one", "a/q/", "0/", "z/")
		in := func(path string) string { return filepath.Join(root, path) }
		r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
		heard := r.hearing(t, root)
		bind(t, in("b"), in("a/q"))
		testfs.Mount(t, in("b/p"), "mount", "-t", "tmpfs", "tidemark", in("b/p"))
		must(t, os.MkdirAll(in("b/p/d/e"), 0o755))
		heard("mounted", "b/p", "b/p/d/e", "a/q/p", "a/q/p/n", "b", "a/q")
		bind(t, in("b/p/d"), in("0"))
		bind(t, in("b/p/d"), in("z"))
		heard("thrice", "b/p/d/e", "0/e", "z/e", "a/q/p/n")
		r.stop()
		r = start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
		heard("started", "b/p", "0", "z", "b/p/d/e", "0/e", "z/e", "a/q/p", "a/q/p/n", "b", "a/q")
		for _, dir := range []string{"b/p/d/e", "0/e", "z/e"} {
			seen := logStamps(t, root)
			write(t, in(dir+"/once"), "in "+dir)
			r.sync()
			for _, also := range []string{"b/p/d/e", "0/e", "z/e"} {
				seen.fresh("written in "+dir, also)
			}
		}
		must(t, syscall.Unmount(in("b/p"), syscall.MNT_DETACH))
		must(t, syscall.Mount("tidemark", in("b/p"), "tmpfs", 0, "")) // for the Cleanup
		heard("another", "b/p", "a/q/p", "a/q/p/n", "0/e", "z/e")
	})
}

// A directory in which something is mounted is renamed. No alarm of the mount table tells of that. When the
// mount went, what it had covered was not stamped; nor was what a bind mount shows of that directory.
func TestMountedInWhatIsRenamed(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		for _, cross := range []bool{true, false} {
			away, root := newTree(t, "f = one"), newTree(t, "a/disk/below/g = two", "a/src/sub/f = one", "z/dst/")
			in := func(path string) string { return filepath.Join(root, path) }
			r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: cross})
			seen := logStamps(t, root)
			seen.noteAs(in("a"), "b")
			must(t, syscall.Mount(away, in("a/disk"), "", syscall.MS_BIND, ""))
			defer func() { _ = syscall.Unmount(in("b/disk"), syscall.MNT_DETACH) }() // if the test fails before
			bind(t, in("a/src"), in("z/dst"))
			r.sync()
			must(t, os.Rename(in("a"), in("b")))
			r.sync()
			seen.note()
			if write(t, in("b/src/sub/f"), "two"); cross {
				r.sync()
				seen.fresh("written", "z/dst/sub")
			}
			must(t, syscall.Unmount(in("b/disk"), syscall.MNT_DETACH))
			r.sync()
			seen.fresh("unmounted", "b/disk/below")
		}
	})
}

// A change in a directory that a mount covered was never published: nobody can stamp it
// then. When the mount was gone, the directory had its old stamp.
func TestCovered(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		for _, cross := range []bool{true, false} {
			place := newTree(t, "tree/a/b/c/f = one", "tree/d/", "way/", "empty/")
			root := filepath.Join(place, "tree")
			bind(t, filepath.Join(root, "a"), filepath.Join(place, "way"))
			r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: cross})
			r.sync()
			seen := logStamps(t, root)
			unmount := bind(t, filepath.Join(place, "empty"), filepath.Join(root, "a/b"))
			r.sync()
			seen.fresh("covered", "a")
			write(t, filepath.Join(place, "way/b/c/new"), "below the mount")
			r.sync()
			seen.noteAs(filepath.Join(place, "way"), "a")
			seen.note()
			unmount()
			r.sync()
			seen.fresh("uncovered", "a/b/c")
		}
	})
}

// Mounts that came, went or changed while nobody watched were never published: what came
// with them has old times.
func TestMountedMeanwhile(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		one, two := inMemory(t), inMemory(t)
		for _, dir := range []string{one, two} {
			must(t, os.MkdirAll(filepath.Join(dir, "sub/deep"), 0o755))
			write(t, filepath.Join(dir, "f"), dir)
		}
		root := newTree(t, "a/disk/")
		in := func(path string) string { return filepath.Join(root, path) }
		must(t, os.Mkdir(in("a/\xff b"), 0o755))
		write(t, in("a/\xff b/f"), "x")
		config := watch.Config{Root: root, Backend: backend, CrossMounts: true, Now: later}
		start(t, config).stop()
		seen := logStamps(t, root)
		again := func(what, dir string) {
			t.Helper()
			brokenOff(t, config)
			r := start(t, config)
			r.sync()
			seen.fresh(what, dir)
			r.stop()
			seen.note()
			before := stamps(t, root)
			start(t, config).stop()
			require.Equal(t, before, stamps(t, root), "once")
		}
		seen.noteAs(one, "a/disk")
		seen.noteAs(two, "a/disk")
		unmount := bind(t, one, in("a/disk"))
		again("mounted", "a/disk/sub/deep")
		unmount()
		unmount = bind(t, two, in("a/disk"))
		again("exchanged", "a/disk/sub/deep")
		unmount()
		again("unmounted", "a/disk")
		unmount = bind(t, filepath.Join(two, "f"), in("a/\xff b/f"))
		again("a file", "a/\xff b")
		unmount()
		again("a file no more", "a/\xff b")
	})
}

// What is mounted below the root may store coarser steps of time than the root. There two changes
// in one second got stamps that showed as one: a reader who had the first never saw the second.
// And watch took its own write for somebody else's, which made the next batch, for ever.
func TestCoarserThanTheRoot(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		root := newTreeIn(t, inMemory(t), "m/", "b/")
		image, _ := testfs.Make(t, "mkfs.ext4", "-q", "-F", "-I", "128")
		testfs.Mount(t, filepath.Join(root, "m"), "mount", "-o", "loop", image, filepath.Join(root, "m"))
		must(t, os.Mkdir(filepath.Join(root, "m/d"), 0o755))
		r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
		r.sync()
		seen := logStamps(t, root)
		for i := range 6 { // some of them in one second, unless a batch waits for the next
			for _, dir := range []string{"m", "m/d"} {
				write(t, filepath.Join(root, dir, fmt.Sprint(i)), "new")
				r.sync()
				seen.fresh(fmt.Sprint("file ", i), dir)
				seen.note()
			}
		}
		require.Empty(t, exceptions(t, root).Stamps, "it holds what it is given")
		if backend == "none" {
			return // an audit stamps again what changed so lately that nobody can tell who did it
		}
		for range 10 { // each is one batch; what goes on by itself makes many
			r.sync()
		}
		before := r.config.Stats.Stamped.Load()
		for range 10 {
			r.sync()
		}
		require.Equal(t, before, r.config.Stats.Stamped.Load(), r.log)
	})
}

// When something was mounted over the root, watch went on with the root, though nobody saw
// it.
func TestRootCovered(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		root, other := newTree(t, "a/"), newTree(t)
		r := start(t, watch.Config{Root: root, Backend: backend})
		bind(t, other, root)
		select {
		case err := <-r.ended:
			require.Equal(t, exit.Local, exit.Of(err))
		case <-time.After(deadline):
			t.Error("watch goes on")
		}
		r.cancel = nil
	})
}

// A file that is mounted by itself is written in a directory that is in no tree. Nothing of that was heard, by
// the name that it has in the tree either, until an audit.
func TestFilesThatAreMounted(t *testing.T) {
	for _, backend := range []string{"inotify", "fanotify"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			away, root := newTree(t, "f = one", "g = two", "h = three"), newTree(t, "a/d/f = covered", "a/d/g = covered", "b/f = covered")
			in := func(path string) string { return filepath.Join(root, path) }
			unmount := bind(t, filepath.Join(away, "f"), in("a/d/f"))
			r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
			seen := logStamps(t, root)
			changes := func(file string, dirs ...string) {
				t.Helper()
				r.sync()
				seen.note()
				write(t, file, time.Now().String())
				r.sync()
				for _, dir := range dirs {
					seen.fresh(file, dir)
				}
			}
			changes(in("a/d/f"), "a/d")
			changes(filepath.Join(away, "f"), "a/d")
			bind(t, filepath.Join(away, "f"), in("b/f"))
			changes(filepath.Join(away, "f"), "a/d", "b")
			unmount()
			changes(filepath.Join(away, "f"), "b")
			for file, at := range map[string]string{"g": "f", "h": "g"} {
				must(t, syscall.Mount(filepath.Join(away, file), in("a/d/"+at), "", syscall.MS_BIND, ""))
				t.Cleanup(func() { must(t, syscall.Unmount(in("c/d/"+at), syscall.MNT_DETACH)) })
			}
			changes(filepath.Join(away, "g"), "a/d")
			must(t, os.Rename(in("a"), in("c")))
			changes(in("c/d/f"), "c/d")
			changes(filepath.Join(away, "h"), "c/d")
			unmount = bind(t, filepath.Join(away, "h"), in("c/d/f"))
			changes(filepath.Join(away, "h"), "c/d")
			unmount()
			changes(filepath.Join(away, "g"), "c/d")
			r.sync()
			seen.note()
			was := stamps(t, root)
			write(t, filepath.Join(away, "elsewhere"), "not in the tree")
			r.sync()
			require.Equal(t, was, stamps(t, root))
			require.Equal(t, wire.Watched, r.status().State, r.log)
		})
	}
}

// A mount that spread from elsewhere went below what was mounted at that path, but stands last in the
// kernel's table. So another directory was thought to show there, and its changes were not heard.
func TestAMountBelowAnother(t *testing.T) {
	for _, backend := range []string{"inotify", "fanotify"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			root := inMemory(t)
			in := func(path string) string { return filepath.Join(root, path) }
			for _, dir := range []string{"p/m", "q", "z/sub"} {
				must(t, os.MkdirAll(in(dir), 0o755))
			}
			must(t, syscall.Mount("", root, "", syscall.MS_SHARED, ""))
			defer bind(t, in("p"), in("q"))()
			must(t, syscall.Mount("", in("q"), "", syscall.MS_SLAVE, ""))
			defer bind(t, in("z"), in("q/m"))()
			r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
			r.sync()
			must(t, syscall.Mount("tidemark-test", in("p/m"), "tmpfs", 0, ""))
			defer func() { must(t, syscall.Unmount(in("p/m"), syscall.MNT_DETACH)) }()
			_, err := os.Stat(in("q/m/sub"))
			must(t, err)
			seen := logStamps(t, root)
			for _, path := range []string{"z/sub/f", "q/m/sub/g"} {
				r.sync()
				seen.note()
				write(t, in(path), time.Now().String())
				r.sync()
				seen.fresh(path, "z/sub")
				seen.fresh(path, "q/m/sub")
			}
			seen.note()
			write(t, in("p/m/f"), time.Now().String())
			r.sync()
			seen.fresh("p/m/f", "p/m")
		})
	}
}

// A directory was moved into one that a mount showed in it, too. inotify knew that one by its place in the
// mount, took the move for one of the directory into itself, and heard of neither any more.
func TestMovedIntoWhatItShows(t *testing.T) {
	for _, backend := range []string{"inotify", "fanotify"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			root := newTree(t, "a/in/f = one", "b/sub/", "b/f = two")
			in := func(path string) string { return filepath.Join(root, path) }
			must(t, os.Mkdir(in("b/shown"), 0o755))
			must(t, syscall.Mount(in("a"), in("b/shown"), "", syscall.MS_BIND, ""))
			moved := in("a/in/b")
			t.Cleanup(func() { must(t, syscall.Unmount(filepath.Join(moved, "shown"), syscall.MNT_DETACH)) })
			r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
			r.sync()
			seen := logStamps(t, root)
			must(t, os.Rename(in("b"), moved))
			r.sync()
			seen.fresh("moved", "a/in")
			for _, path := range []string{"a/in/b/sub/f", "a/in/f", "a/in/b/shown/in/g"} {
				r.sync()
				seen.note()
				write(t, in(path), time.Now().String())
				r.sync()
				seen.fresh(path, filepath.Dir(path))
			}
		})
	}
}

// Two read-only bind mounts show one directory. The second place was taken for the first one moved, so changes
// arrived at one of them only, in the state watched.
func TestReadOnlyAtTwoPlaces(t *testing.T) {
	eachWay(t, func(t *testing.T, backend string) {
		away, root := newTree(t, "d/f = one"), newTree(t, "a/", "b/")
		for _, place := range []string{"a", "b"} {
			at := filepath.Join(root, place)
			bind(t, filepath.Join(away, "d"), at)
			must(t, syscall.Mount("", at, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""))
		}
		r := start(t, watch.Config{Root: root, Backend: backend, CrossMounts: true})
		for _, text := range []string{"two", "three"} {
			write(t, filepath.Join(away, "d/f"), text)
			r.sync()
			stamps, err := os.ReadFile(filepath.Join(root, ".tidemark/stamps"))
			must(t, err)
			for _, place := range []string{"a", "b"} {
				require.Regexp(t, `(?m)\b`+place+`/?$`, string(stamps), backend)
			}
		}
	})
}
