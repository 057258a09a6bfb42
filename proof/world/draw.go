package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Draw makes the steps of a seed: so many phases, each of which ends with a rest.
func Draw(seed uint64, phases int) []Step {
	d := &drawer{rand: rand.New(rand.NewPCG(seed, 14)), m: newModel()}
	d.long = phases > 1
	d.kept, d.links, d.mmap = d.rand.IntN(3) == 0, d.rand.IntN(4) == 0, d.rand.IntN(4) == 0
	steps := []Step{d.begin()}
	plant(d.m)
	if d.rand.IntN(3) == 0 { // a large file, which will change in places
		big := Step{Name: "big", Args: []string{"s0/k0/f0", d.version()}}
		if changeOf(big.Name).model(d.m, big.Args) == nil {
			steps = append(steps, big)
		}
	}
	for range phases {
		for range 8 + d.rand.IntN(40) {
			steps = append(steps, d.next()...)
		}
		steps = append(steps, Step{Name: pickOf(d.rand, "rest", "rest", "hard")})
	}
	return append(steps, Step{Name: "hard"}, Step{Name: "idle"})
}

// begin draws what the world stands on.
func (d *drawer) begin() Step {
	source := pickOf(d.rand, "ext4", "ext4", "tmpfs", "tmpfs", "xfs", "btrfs")
	d.mmap = d.mmap && source != "tmpfs" // on tmpfs nobody ever hears of it
	return Step{Name: "world", Args: []string{
		"source=" + source,
		"copy=" + pickOf(d.rand, "ext4", "tmpfs", "tmpfs", "btrfs"),
		"max-delete=" + pickOf(d.rand, "100%", "100%", "100%", "50%"),
		"first=" + pickOf(d.rand, "watch", "mirror"),
		"rights=" + pickOf(d.rand, "root", "root", "user"),
		"mounts=" + pickOf(d.rand, "", "", "--cross-mounts"),
		"links=" + d.option(d.kept, "--hard-links"),
		"sparse=" + pickOf(d.rand, "", "", "--sparse"),
		"backup=" + pickOf(d.rand, "", "", "yes"),
	}}
}

// option is an option of mirror in all of this world, or none. Files have several names where they stay one.
func (d *drawer) option(on bool, name string) string {
	if !on {
		return ""
	}
	d.links = true
	return name
}

// next draws the next steps: a change, several at once, a transition, a pause.
func (d *drawer) next() (steps []Step) {
	switch n := d.rand.IntN(100); {
	case n < 14:
		return d.transition()
	case n < 22:
		for _, i := range d.rand.Perm(tops)[:2+d.rand.IntN(2)] {
			d.only = fmt.Sprint("s", i)
			steps = append(steps, d.change()...)
		}
		d.only = ""
		for i := range len(steps) - 1 {
			steps[i].Beside = true
		}
	default:
		steps = d.change()
	}
	if d.rand.IntN(10) < 4 {
		steps = append(steps, Step{Name: "pause", Args: []string{pickOf(d.rand, "1", "4", "20", "100", "300")}})
	}
	return steps
}

// change draws a change and applies it.
func (d *drawer) change() []Step {
	d.user = d.rand.IntN(6) == 0
	defer func() { d.user = false }()
	for range 20 {
		c := weighted(d.rand, changes, func(c change) int { return c.weight })
		a := c.draw(d)
		if a == nil || d.only != "" && slices.Contains([]string{"link", "second", "many", "big"}, c.name) {
			continue
		}
		next := d.m.clone()
		if c.model(next, a) != nil {
			continue
		}
		d.m = next
		s := Step{Name: c.name, Args: a}
		if d.user {
			s.User = user
		}
		return []Step{s}
	}
	return nil
}

// transition draws a transition.
func (d *drawer) transition() []Step {
	for range 20 {
		tr := weighted(d.rand, transitions, func(t transition) int { return t.weight })
		if a, ok := tr.draw(d); ok {
			return []Step{{Name: tr.name, Args: a}}
		}
	}
	return nil
}
