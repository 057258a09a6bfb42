package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// treeChanges are changes of names and directories.
var treeChanges = []change{
	{
		name: "move", weight: 9,
		draw:  func(d *drawer) []string { return d.args(d.loose(file, link, dir), d.fresh()) },
		model: func(m *model, a []string) error { return m.move(a[0], a[1]) },
		disk:  func(s site, a []string) error { return unix.Rename(s.path(a[0]), s.path(a[1])) },
	}, {
		name: "moveover", weight: 4,
		draw:  func(d *drawer) []string { return d.args(d.some(file, link), d.some(file, link)) },
		model: func(m *model, a []string) error { return m.move(a[0], a[1]) },
		disk:  func(s site, a []string) error { return unix.Rename(s.path(a[0]), s.path(a[1])) },
	}, {
		name: "exchange", weight: 7,
		draw:  func(d *drawer) []string { return d.args(d.loose(file, dir), d.loose(file, dir)) },
		model: func(m *model, a []string) error { return m.exchange(a[0], a[1]) },
		disk:  func(s site, a []string) error { return s.exchange(a[0], a[1]) },
	}, {
		name: "remove", weight: 2, rough: true, // rm -r
		draw:  func(d *drawer) []string { return d.args(d.loose(dir)) },
		model: func(m *model, a []string) error { return m.remove(a[0]) },
		disk: func(s site, a []string) error {
			if _, err := os.Lstat(s.path(a[0])); err != nil {
				return err
			}
			return os.RemoveAll(s.path(a[0]))
		},
	}, {
		name: "mkdir", weight: 4, rough: true, // mkdir -p, and a file in it
		draw: func(d *drawer) []string {
			return d.args(d.fresh(), d.name(), d.name(), d.version(), d.size())
		},
		model: func(m *model, a []string) error {
			p := join(a[0], a[1])
			if err := m.makeDirs(p); err != nil {
				return err
			}
			return m.put(join(p, a[2]), newFile(content(number(a[3]), number(a[4]))))
		},
		disk: func(s site, a []string) error {
			p := join(a[0], a[1])
			if err := os.MkdirAll(s.path(p), 0o755); err != nil {
				return err
			}
			return s.putAside(join(p, a[2]), content(number(a[3]), number(a[4])), nil)
		},
	}, {
		name: "many", weight: 2, rough: true,
		draw: func(d *drawer) []string { return d.args(d.some(dir), d.version(), d.number(60)) },
		model: func(m *model, a []string) error {
			if _, err := m.is(a[0], dir); err != nil {
				return err
			}
			for i := range number(a[2]) {
				if err := m.put(join(a[0], fmt.Sprint("m", i)), newFile(content(number(a[1])*100+i, 30))); err != nil {
					return err
				}
			}
			return nil
		},
		disk: func(s site, a []string) error {
			for i := range number(a[2]) {
				if err := s.putAside(join(a[0], fmt.Sprint("m", i)), content(number(a[1])*100+i, 30), nil); err != nil {
					return err
				}
			}
			return nil
		},
	}, {
		name: "chmod", weight: 4,
		draw: func(d *drawer) []string { return d.args(d.some(file, dir), d.mode()) },
		model: func(m *model, a []string) error {
			n := m.find(a[0])
			if n == nil || n.kind == link {
				return syscall.ENOENT
			}
			n.mode = mode(a[1])
			return nil
		},
		disk: func(s site, a []string) error {
			if info, err := os.Lstat(s.path(a[0])); err != nil || info.Mode()&os.ModeSymlink != 0 {
				return syscall.ENOENT
			}
			return unix.Chmod(s.path(a[0]), mode(a[1]))
		},
	}, {
		name: "chown", weight: 2,
		draw:  func(d *drawer) []string { return d.args(d.some(file, dir), d.owner()) },
		model: func(m *model, a []string) error { return m.exists(a[0]) },
		disk: func(s site, a []string) error {
			return unix.Lchown(s.path(a[0]), number(a[1]), number(a[1]))
		},
	}, {
		name: "turn", weight: 4, rough: true, // another kind of entry under the same name
		draw: func(d *drawer) []string {
			return d.args(d.some(file, link), d.word("link", "file", "dir", "fifo"), d.version())
		},
		model: func(m *model, a []string) error {
			if n := m.find(a[0]); n == nil || n.kind == dir {
				return syscall.ENOENT
			}
			if err := m.remove(a[0]); err != nil {
				return err
			}
			return turned[a[1]].model(m, a[0], number(a[2]))
		},
		disk: func(s site, a []string) error {
			if err := unix.Unlink(s.path(a[0])); err != nil {
				return err
			}
			return turned[a[1]].disk(s, a[0], number(a[2]))
		},
		away: func(a []string) []string { return a[:1] },
	}, {
		name: "symlink", weight: 2,
		draw: func(d *drawer) []string {
			return d.args(d.fresh(), d.word("f1", "../f2", "nowhere", ".", "/etc/passwd", "../../../../../../up", "s1/../../x"))
		},
		model: func(m *model, a []string) error {
			if m.find(a[0]) != nil {
				return syscall.EEXIST
			}
			return m.put(a[0], newLink(a[1]))
		},
		disk: func(s site, a []string) error { return os.Symlink(a[1], s.path(a[0])) },
	}, {
		name: "fifo", weight: 1,
		draw: func(d *drawer) []string { return d.args(d.fresh()) },
		model: func(m *model, a []string) error {
			if m.find(a[0]) != nil {
				return syscall.EEXIST
			}
			return m.put(a[0], &node{kind: fifo})
		},
		disk: func(s site, a []string) error { return unix.Mkfifo(s.path(a[0]), 0o644) },
	}, {
		name: "dirtime", weight: 3,
		draw:  func(d *drawer) []string { return d.args(d.some(dir), d.time()) },
		model: func(m *model, a []string) error { _, err := m.is(a[0], dir); return err },
		disk:  func(s site, a []string) error { return setTime(s.path(a[0]), when(a[1])) },
	}, {
		name: "tar", weight: 1, rough: true,
		draw:  func(d *drawer) []string { return d.args(d.loose(dir), d.fresh()) },
		model: func(m *model, a []string) error { return m.copyTree(a[0], a[1]) },
		disk: func(s site, a []string) error {
			if err := absent(s, a); err != nil {
				return err
			}
			return run("bash", "-c", `set -o pipefail; mkdir -- "$2" && tar c --exclude=.tidemark -C "$1" . | tar xp -C "$2"`, "bash", s.path(a[0]), s.path(a[1]))
		},
		grows:   func(m *model, a []string) map[string]growth { return m.copied(a[0], a[1]) },
		moments: func(m *model, a []string) map[string][][]byte { return m.placeholders(a[0], a[1]) },
	}, {
		name: "clone", weight: 2, rough: true, // cp -a, with what is in .tidemark of a tree within
		draw:  func(d *drawer) []string { return d.args(d.loose(dir), d.fresh()) },
		model: func(m *model, a []string) error { return m.copyTree(a[0], a[1]) },
		disk: func(s site, a []string) error {
			if err := absent(s, a); err != nil {
				return err
			}
			return run("cp", "-a", "--", s.path(a[0]), s.path(a[1]))
		},
		grows: func(m *model, a []string) map[string]growth { return m.copied(a[0], a[1]) },
	}, {
		name: "import", weight: 1, rough: true, // cp -a of a tree that watch kept
		draw:  func(d *drawer) []string { return d.args(d.fresh(), d.version()) },
		model: (*model).importTree,
		disk: fromTree(func(tree, at string) error {
			return errors.Join(run("watch", "--once", tree), run("cp", "-a", "--", tree, at))
		}),
		moments: func(m *model, a []string) map[string][][]byte {
			moments := map[string][][]byte{}
			_ = imported(number(a[1]), func(p string, _ []byte) error {
				moments[join(a[0], p)] = [][]byte{nil}
				return nil
			})
			return moments
		},
	}, {
		name: "nest", weight: 1, rough: true, // a copy of a tree, made by mirror
		draw:  func(d *drawer) []string { return d.args(d.fresh(), d.version()) },
		model: (*model).importTree,
		disk:  fromTree(func(tree, at string) error { return run("mirror", "--once", "--", tree, at) }),
	},
}

// turned are the kinds that an entry may turn into.
var turned = map[string]struct {
	model func(m *model, p string, version int) error
	disk  func(s site, p string, version int) error
}{
	"link": {
		func(m *model, p string, _ int) error { return m.put(p, newLink("f1")) },
		func(s site, p string, _ int) error { return os.Symlink("f1", s.path(p)) },
	},
	"file": {
		func(m *model, p string, v int) error { return m.put(p, newFile(content(v, 50))) },
		func(s site, p string, v int) error { return s.putAside(p, content(v, 50), nil) },
	},
	"dir": {
		func(m *model, p string, v int) error {
			if err := m.put(p, newDir()); err != nil {
				return err
			}
			return m.put(join(p, "inside"), newFile(content(v, 50)))
		},
		func(s site, p string, v int) error {
			if err := os.Mkdir(s.path(p), 0o755); err != nil {
				return err
			}
			return s.putAside(join(p, "inside"), content(v, 50), nil)
		},
	},
	"fifo": {
		func(m *model, p string, _ int) error { return m.put(p, &node{kind: fifo}) },
		func(s site, p string, _ int) error { return unix.Mkfifo(s.path(p), 0o644) },
	},
}

// absent is no error if a[1] does not exist and is not below a[0].
func absent(s site, a []string) error {
	if a[0] != "" && within(a[1], a[0]) {
		return syscall.EINVAL
	}
	if _, err := os.Lstat(s.path(a[1])); err == nil {
		return syscall.EEXIST
	}
	return nil
}

// copyTree is cp -a: files with several names stay such among themselves.
func (m *model) copyTree(from, to string) error {
	n, err := m.is(from, dir)
	if err == nil && within(to, from) {
		err = syscall.EINVAL
	}
	if err == nil && m.find(to) != nil {
		err = syscall.EEXIST
	}
	if err != nil {
		return err
	}
	return m.put(to, n.clone(map[*node]*node{}))
}

// imported yields the files of a small tree.
func imported(version int, put func(p string, data []byte) error) error {
	for i := range 3 {
		p := strings.Repeat("q/", i) + fmt.Sprint("f", i)
		if err := put(p, content(version*10+i, 60)); err != nil {
			return err
		}
	}
	return nil
}

// importTree puts these files into a new directory of the model.
func (m *model) importTree(a []string) error {
	if m.find(a[0]) != nil {
		return syscall.EEXIST
	}
	if err := m.put(a[0], newDir()); err != nil {
		return err
	}
	return imported(number(a[1]), func(p string, data []byte) error {
		if err := m.makeDirs(above(join(a[0], p))); err != nil {
			return err
		}
		return m.put(join(a[0], p), newFile(data))
	})
}

// tree makes them in a directory aside.
func (s site) tree(version int) (string, error) {
	tree, err := os.MkdirTemp(s.aside, "tree")
	if err == nil {
		err = os.Chmod(tree, 0o755)
	}
	if err != nil {
		return "", err
	}
	return tree, imported(version, func(p string, data []byte) error {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, p)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(tree, p), data, 0o644)
	})
}

// fromTree is a change on disk that makes a tree beside the world, and puts it, or a copy of
// it, where nothing is yet.
func fromTree(put func(tree, at string) error) func(s site, a []string) error {
	return func(s site, a []string) error {
		if err := absent(s, append([]string{""}, a...)); err != nil {
			return err
		}
		tree, err := s.tree(number(a[1]))
		if err != nil {
			return err
		}
		defer os.RemoveAll(tree)
		return put(tree, s.path(a[0]))
	}
}

// exchange exchanges two entries. Two of equal size and mtime are left on xfs, which moves no
// ctime then: if watch does not hear that, only --verify finds it (docs/decisions.md).
// TestExchangedFiles has what it hears.
func (s site) exchange(a, b string) error {
	a, b = s.path(a), s.path(b)
	var on unix.Statfs_t
	var x, y unix.Stat_t
	if err := errors.Join(unix.Statfs(s.root, &on), unix.Lstat(a, &x), unix.Lstat(b, &y)); err != nil {
		return err
	}
	areDirs := x.Mode&unix.S_IFMT == unix.S_IFDIR && y.Mode&unix.S_IFMT == unix.S_IFDIR
	if on.Type == unix.XFS_SUPER_MAGIC && x.Mtim == y.Mtim && (areDirs || x.Size == y.Size) {
		return unix.EBUSY
	}
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
