package world

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileChanges are changes of single files.
var fileChanges = []change{
	{
		name: "create", weight: 8,
		draw:  func(d *drawer) []string { return d.args(d.fresh(), d.version(), d.size()) },
		model: func(m *model, a []string) error { return m.put(a[0], newFile(content(number(a[1]), number(a[2])))) },
		disk: func(s site, a []string) error {
			return s.putAside(a[0], content(number(a[1]), number(a[2])), nil)
		},
	}, {
		name: "replace", weight: 8,
		draw:  func(d *drawer) []string { return d.args(d.some(file), d.version(), d.size()) },
		model: func(m *model, a []string) error { return m.put(a[0], newFile(content(number(a[1]), number(a[2])))) },
		disk: func(s site, a []string) error {
			return s.putAside(a[0], content(number(a[1]), number(a[2])), nil)
		},
	}, {
		name: "big", weight: 1,
		draw: func(d *drawer) []string {
			if d.rand.IntN(4) > 0 {
				return nil
			}
			return d.args(d.some(file), d.version())
		},
		model: func(m *model, a []string) error { return m.put(a[0], newFile(content(number(a[1]), 5<<20))) },
		disk:  func(s site, a []string) error { return s.putAside(a[0], content(number(a[1]), 5<<20), nil) },
	}, {
		name: "places", weight: 5, rough: true, // a large file, here and there, in place
		draw: func(d *drawer) []string { return d.args(d.large(), d.version(), d.number(5)) },
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil {
				n.fill(patched(n.data, number(a[1]), number(a[2]), nil))
			}
			return err
		},
		disk: func(s site, a []string) error {
			f, err := os.OpenFile(s.path(a[0]), os.O_RDWR|syscall.O_NOFOLLOW, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err == nil {
				patched(make([]byte, info.Size()), number(a[1]), number(a[2]), func(text []byte, at int) {
					_, writeErr := f.WriteAt(text, int64(at))
					err = errors.Join(err, writeErr)
				})
			}
			return err
		},
		grows: func(m *model, a []string) map[string]growth {
			was := m.find(a[0]).data
			return m.growing(a[0], growth{data: patched(was, number(a[1]), number(a[2]), nil), over: was})
		},
	}, {
		name: "grow", weight: 2, // a large file, at its end
		draw: func(d *drawer) []string { return d.args(d.large(), d.version(), d.number(200000)) },
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil {
				n.fill(slices.Concat(n.data, content(number(a[1]), number(a[2]))))
			}
			return err
		},
		disk: func(s site, a []string) error {
			return s.rewrite(a[0], os.O_APPEND, content(number(a[1]), number(a[2])))
		},
		grows: func(m *model, a []string) map[string]growth {
			return m.growing(a[0], growth{data: slices.Concat(m.find(a[0]).data, content(number(a[1]), number(a[2])))})
		},
	}, {
		name: "write", weight: 5, rough: true, // in place, in two parts
		draw: func(d *drawer) []string { return d.args(d.some(file), d.version(), d.size()) },
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil {
				n.fill(content(number(a[1]), number(a[2])))
			}
			return err
		},
		disk: func(s site, a []string) error {
			data := content(number(a[1]), number(a[2]))
			return s.rewrite(a[0], os.O_TRUNC, data[:len(data)/2], data[len(data)/2:])
		},
		moments: func(m *model, a []string) map[string][][]byte {
			data := content(number(a[1]), number(a[2]))
			return m.moments(a[0], nil, data[:len(data)/2])
		},
		grows: func(m *model, a []string) map[string]growth {
			return m.growing(a[0], growth{data: content(number(a[1]), number(a[2]))})
		},
	}, appends("append", 5, func(d *drawer) string { return d.some(file) }), {
		name: "truncate", weight: 2,
		draw: func(d *drawer) []string { return d.args(d.some(file), d.number(50)) },
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil {
				n.fill(resized(n.data, number(a[1])))
			}
			return err
		},
		disk: func(s site, a []string) error { return os.Truncate(s.path(a[0]), int64(number(a[1]))) },
	}, {
		name: "swap", weight: 5, // other bytes of the same size under the same mtime
		draw: func(d *drawer) []string { return d.args(d.some(file), d.version()) },
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil {
				err = m.put(a[0], newFile(content(number(a[1]), len(n.data))))
			}
			return err
		},
		disk: func(s site, a []string) error {
			info, err := os.Lstat(s.path(a[0]))
			if err != nil {
				return err
			}
			was := info.ModTime()
			return s.putAside(a[0], content(number(a[1]), int(info.Size())), &was)
		},
	}, {
		name: "patch", weight: 3, rough: true, // the same in place
		draw: func(d *drawer) []string { return d.args(d.some(file), d.version()) },
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil {
				n.fill(content(number(a[1]), len(n.data)))
			}
			return err
		},
		disk: func(s site, a []string) error {
			info, err := os.Lstat(s.path(a[0]))
			if err == nil {
				err = s.rewrite(a[0], 0, content(number(a[1]), int(info.Size())))
			}
			if err == nil {
				err = setTime(s.path(a[0]), info.ModTime())
			}
			return err
		},
		grows: func(m *model, a []string) map[string]growth {
			was := m.find(a[0]).data
			return m.growing(a[0], growth{data: content(number(a[1]), len(was)), over: was})
		},
	}, {
		name: "touch", weight: 4,
		draw:  func(d *drawer) []string { return d.args(d.some(file, link), d.time()) },
		model: func(m *model, a []string) error { return m.exists(a[0]) },
		disk:  func(s site, a []string) error { return setTime(s.path(a[0]), when(a[1])) },
	}, {
		name: "copy", weight: 4, rough: true, // cp -p
		draw: func(d *drawer) []string { return d.args(d.some(file), d.fresh()) },
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err != nil {
				return err
			}
			if to := m.find(a[1]); to != nil {
				return syscall.EEXIST
			}
			c := *n
			return m.put(a[1], &c)
		},
		disk: func(s site, a []string) error {
			if _, err := os.Lstat(s.path(a[1])); err == nil {
				return syscall.EEXIST
			}
			return run("cp", "-p", "--", s.path(a[0]), s.path(a[1]))
		},
		grows: func(m *model, a []string) map[string]growth { return m.copied(a[0], a[1]) },
	}, {
		name: "unlink", weight: 5,
		draw: func(d *drawer) []string { return d.args(d.some(file, link, fifo)) },
		model: func(m *model, a []string) error {
			if n := m.find(a[0]); n != nil && n.kind == dir {
				return syscall.EISDIR
			}
			return m.remove(a[0])
		},
		disk: func(s site, a []string) error { return unix.Unlink(s.path(a[0])) },
	}, {
		name: "again", weight: 2, rough: true, // unlink and create
		draw: func(d *drawer) []string { return d.args(d.some(file), d.version(), d.size()) },
		model: func(m *model, a []string) error {
			if _, err := m.is(a[0], file); err != nil {
				return err
			}
			return m.put(a[0], newFile(content(number(a[1]), number(a[2]))))
		},
		disk: func(s site, a []string) error {
			if err := unix.Unlink(s.path(a[0])); err != nil {
				return err
			}
			return s.rewrite(a[0], os.O_CREATE|os.O_EXCL, content(number(a[1]), number(a[2])))
		},
		moments: func(m *model, a []string) map[string][][]byte { return map[string][][]byte{a[0]: {nil}} },
		grows: func(_ *model, a []string) map[string]growth {
			return map[string]growth{a[0]: {data: content(number(a[1]), number(a[2]))}}
		},
		away: func(a []string) []string { return a[:1] },
	}, {
		name: "link", weight: 3, // a second name; what is written by one of them is heard there only
		draw: func(d *drawer) []string {
			if !d.links {
				return nil
			}
			return d.args(d.some(file), d.fresh())
		},
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil && m.find(a[1]) != nil {
				err = syscall.EEXIST
			}
			if err == nil {
				err = m.put(a[1], n)
			}
			return err
		},
		disk: func(s site, a []string) error { return os.Link(s.path(a[0]), s.path(a[1])) },
	}, appends("second", 2, (*drawer).several), { // what is heard under one of several names
		name: "mmap", weight: 1, rough: true,
		draw: func(d *drawer) []string {
			if !d.mmap {
				return nil
			}
			return d.args(d.some(file), d.version())
		},
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil {
				n.fill(content(number(a[1]), len(n.data)))
			}
			return err
		},
		disk: func(s site, a []string) error { return mapped(s.path(a[0]), number(a[1])) },
	},
}

// appends is a change that appends to a file, which draw chooses.
func appends(name string, weight int, draw func(d *drawer) string) change {
	return change{
		name: name, weight: weight,
		draw: func(d *drawer) []string { return d.args(draw(d), d.version()) },
		model: func(m *model, a []string) error {
			n, err := m.is(a[0], file)
			if err == nil {
				n.fill(slices.Concat(n.data, content(number(a[1]), 40)))
			}
			return err
		},
		disk: func(s site, a []string) error { return s.rewrite(a[0], os.O_APPEND, content(number(a[1]), 40)) },
		grows: func(m *model, a []string) map[string]growth {
			return m.growing(a[0], growth{data: slices.Concat(m.find(a[0]).data, content(number(a[1]), 40))})
		},
	}
}

// patched returns data with other bytes at some places, which are the same for equal sizes and versions.
func patched(data []byte, version, places int, write func(text []byte, at int)) []byte {
	data = slices.Clone(data)
	for i := range places {
		text := content(version, 30+i)
		if i == 1 {
			text = make([]byte, 150_000) // a hole
		}
		at := (version*7919*4099 + i*1_300_021) % max(len(data)-len(text), 1)
		copy(data[at:], text)
		if write != nil {
			write(text[:min(len(text), len(data)-at)], at)
		}
	}
	return data
}

// moments are bytes that a file has for a moment, under all its names.
func (m *model) moments(p string, all ...[]byte) map[string][][]byte {
	n, moments := m.find(p), map[string][][]byte{}
	for name, other := range m.entries() {
		if other == n && n != nil {
			moments[name] = all
		}
	}
	return moments
}

// growing is a file that is written in place, under all its names.
func (m *model) growing(p string, g growth) map[string]growth {
	grows := map[string]growth{}
	for name := range m.moments(p) {
		grows[name] = g
	}
	return grows
}

// copied are the files that cp or tar writes by and by.
func (m *model) copied(from, to string) map[string]growth {
	copies := map[string]growth{}
	for p, n := range m.entries() {
		if within(p, from) && n.kind == file {
			copies[to+p[len(from):]] = growth{data: n.data}
		}
	}
	return copies
}

// placeholders are the symlinks that GNU tar makes last, because they may lead out of where it
// extracts: until then it keeps an empty file in the place of each.
func (m *model) placeholders(from, to string) map[string][][]byte {
	empty := map[string][][]byte{}
	for p, n := range m.entries() {
		if within(p, from) && n.kind == link && (path.IsAbs(n.target) || slices.Contains(strings.Split(n.target, "/"), "..")) {
			empty[to+p[len(from):]] = [][]byte{nil}
		}
	}
	return empty
}

func (m *model) exists(p string) error {
	if m.find(p) == nil || p == "" {
		return syscall.ENOENT
	}
	return nil
}

func resized(data []byte, size int) []byte {
	if size <= len(data) {
		return data[:size:size]
	}
	return slices.Concat(data, make([]byte, size-len(data)))
}

// mapped writes to a file by mmap(2) and msync(2). On a full disk that is a fault.
func mapped(name string, version int) (err error) {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func(before bool) {
		debug.SetPanicOnFault(before)
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%s: %v", name, fault)
		}
		err = errors.Join(err, unix.Munmap(m))
	}(debug.SetPanicOnFault(true))
	copy(m, content(version, len(m)))
	return unix.Msync(m, unix.MS_SYNC)
}
