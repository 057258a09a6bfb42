package world

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
)

// drawer draws the steps of a world. It applies them to a model of its own, so that they
// name what will be there.
type drawer struct {
	rand  *rand.Rand
	m     *model
	saved *model // by the transition save
	last  int    // the last version
	long  bool   // it may take its time
	links bool   // files get several names
	kept  bool   // and mirror keeps them
	mmap  bool
	user  bool   // in what users may change
	only  string // in this directory of the root
}

// user is the ordinary user of all worlds.
const user = 4321

// strange names, besides which there are plain ones.
var strange = []string{"Ünï", "sp ace", "per%41cent", "new\nline", "q?#[]", ".dot", "tab\t", "end ", "\xff\xfebytes", `quo'te"`, "-rf", `back\slash`, strings.Repeat("x", 180)}

// tops are the directories of the root. In each of them a directory "stable" has files that
// nobody ever changes; it is never moved.
const tops = 5

func pickOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// weighted draws by weights.
func weighted[T any](r *rand.Rand, all []T, weight func(T) int) T {
	sum := 0
	for _, x := range all {
		sum += weight(x)
	}
	n := r.IntN(sum)
	for _, x := range all {
		if n -= weight(x); n < 0 {
			return x
		}
	}
	panic("unreachable")
}

// args is nil if one of them could not be drawn.
func (d *drawer) args(a ...string) []string {
	if slices.Contains(a, "") {
		return nil
	}
	return a
}

// some is an entry of one of the kinds, not in a stable directory; "" if there is none.
func (d *drawer) some(kinds ...kind) string {
	return d.choose(func(p string) bool { return true }, kinds...)
}

// leastLarge is the size from which mirror asks for the blocks of a file (wire.LeastPatched), in bytes.
const leastLarge = 4 << 20

// large is a file that changes in places.
func (d *drawer) large() string {
	return d.choose(func(p string) bool { return len(d.m.find(p).data) >= leastLarge }, file)
}

// several is a name of a file that has others.
func (d *drawer) several() string {
	return d.choose(func(p string) bool { return len(d.m.namesOf(d.m.find(p))) > 1 }, file)
}

// loose is an entry that may move or go.
func (d *drawer) loose(kinds ...kind) string {
	return d.choose(func(p string) bool { return d.m.find(p+"/stable") == nil }, kinds...)
}

func (d *drawer) choose(ok func(string) bool, kinds ...kind) string {
	paths := d.m.below(d.only, kinds...)
	paths = slices.DeleteFunc(paths, func(p string) bool {
		return strings.Contains(p+"/", "/stable/") || within(p, "mnt") || d.user && !within(p, "s0") && !within(p, "s1") || !ok(p)
	})
	if len(paths) == 0 {
		return ""
	}
	return paths[d.rand.IntN(len(paths))]
}

// fresh is a path in some directory. Something may have it.
func (d *drawer) fresh() string {
	top := d.some(dir)
	if top == "" || strings.Count(top, "/") > 5 {
		return ""
	}
	return join(top, d.name())
}

func (d *drawer) name() string {
	if d.rand.IntN(8) == 0 {
		return strange[d.rand.IntN(len(strange))]
	}
	return fmt.Sprintf("%c%d", "fkab"[d.rand.IntN(4)], d.rand.IntN(6))
}

func (d *drawer) version() string { d.last++; return fmt.Sprint(d.last) }

func (d *drawer) number(most int) string { return fmt.Sprint(1 + d.rand.IntN(most)) }

func (d *drawer) size() string {
	return fmt.Sprint(pickOf(d.rand, 12, 30, 100, 500, 5000, 70000) + d.rand.IntN(20))
}

func (d *drawer) word(all ...string) string { return pickOf(d.rand, all...) }

func (d *drawer) mode() string { return pickOf(d.rand, "644", "600", "755", "711", "750", "700") }

func (d *drawer) owner() string { return pickOf(d.rand, "0", "4321", "4322") }

// time is one that somebody may set: nanoseconds since 1970, or seconds from now.
func (d *drawer) time() string {
	return pickOf(d.rand, "1000000000000000000", "1500000000123456789", "0", "-100000000000000000", "2000000000000000000", "1700000000000000001", "now-5", "now+3600")
}

// plant makes the first tree in the model.
func plant(m *model) {
	version := 1000000
	_ = m.makeDirs("mnt")
	_ = m.put("mnt/covered", newFile(content(version, 50)))
	for i := range tops {
		for k := range 4 {
			d := path.Join(fmt.Sprint("s", i), fmt.Sprint("k", k))
			_ = m.makeDirs(d)
			for j := range 4 {
				version++
				_ = m.put(join(d, fmt.Sprint("f", j)), newFile(content(version, 20+j*100)))
			}
		}
		stable := fmt.Sprintf("s%d/stable", i)
		_ = m.makeDirs(stable)
		for j := range 5 {
			version++
			_ = m.put(join(stable, fmt.Sprint("st", j)), newFile(content(version, 100)))
		}
	}
}
