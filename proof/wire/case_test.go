package wire

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"tidemark/pkg/mtree/exit"
)

// testCase is one session, one fault and one place for it.
type testCase struct {
	kind    *kind
	session *session
	fault   *fault // nil: none
	n       int
	on      bool
}

func (c *testCase) String() string {
	name, span := "none", "once"
	if c.fault != nil {
		name = c.fault.name
	}
	if c.on {
		span = "on"
	}
	return fmt.Sprintf("%s/%s/%s/%d/%s", c.kind.name, c.session.name, name, c.n, span)
}

// parseCase reads what String writes.
func parseCase(text string) (c testCase, err error) {
	parts := strings.Split(text, "/")
	if len(parts) != 5 {
		return c, fmt.Errorf("%q is not SERVER/SESSION/FAULT/N/SPAN", text)
	}
	for _, k := range kinds {
		if k.name == parts[0] {
			c.kind = k
		}
	}
	for _, s := range sessions {
		if s.name == parts[1] {
			c.session = s
		}
	}
	c.fault = faultNamed(parts[2])
	c.n, err = strconv.Atoi(parts[3])
	c.on = parts[4] == "on"
	if c.kind == nil || c.session == nil || c.fault == nil && parts[2] != "none" {
		return c, fmt.Errorf("there is no case %q", text)
	}
	return c, err
}

// outcome is what a case came to.
type outcome struct {
	asked    []string // during the session
	replaced int
	passes   int // after the fault
}

// run runs a case in a directory of its own below base.
func (c *testCase) run(base string) (o outcome, err error) {
	dir, err := os.MkdirTemp(base, "case")
	if err != nil {
		return o, err
	}
	p, err := newPlace(dir, c.kind)
	defer p.close()
	if err = errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
		return o, fmt.Errorf("%v: no place: %w\n%s", c, err, p.trail())
	}
	if err := c.session.prepare(p); err != nil {
		return o, fmt.Errorf("%v: preparing: %w\n%s", c, err, p.trail())
	}
	if err := c.play(p, &o); err != nil {
		return o, fmt.Errorf("%v: %w\n%s", c, err, p.trail())
	}
	return o, nil
}

// play runs the session with its fault, and then without.
func (c *testCase) play(p *place, o *outcome) error {
	before, err := scan(p.dest)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	p.proxy.requests()
	p.log.take()
	p.proxy.arm(c.fault, c.n, c.on)
	p.blind = c.expected(true).blind
	p.endless = c.fault != nil && c.fault.endlessElsewhere && c.on && !c.kind.ours
	fmt.Fprintln(&p.log, "with the fault:")
	err, hung := c.session.run(p, p.faulty())
	o.asked = p.proxy.requests()
	_, o.replaced = p.proxy.arm(nil, 0, false)
	p.endless = false
	for i, asked := range o.asked {
		fmt.Fprintf(&p.log, "  %d %s\n", i+1, asked)
	}
	if err := errors.Join(hung, p.checkPass(before, err, c.expected(false))); err != nil {
		return err
	}
	return c.recover(p, o)
}

// mostPasses is how many passes may be needed after the fault.
const mostPasses = 3

// recover requires that passes without a fault make the copy equal to the source, and that
// the next one asks once.
func (c *testCase) recover(p *place, o *outcome) error {
	for adopt := false; ; {
		o.passes++
		fmt.Fprintln(&p.log, "without a fault:")
		before, err := scan(p.dest)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		config := p.config
		config.Adopt = adopt
		err, hung := p.once(config)
		adopt = c.isFirstContact() && exit.Of(err) == exit.Refused // the error says so
		if wrong := errors.Join(hung, p.checkPass(before, err, c.expected(true))); wrong != nil {
			return fmt.Errorf("pass %d after the fault: %w", o.passes, wrong)
		}
		if c.session.mend != nil {
			err = errors.Join(c.session.mend(p, p.config), err)
		}
		if c.expected(true).blind {
			err = errors.Join(verify(p, p.config), err)
		}
		adopt = adopt || c.mayTakeID() && err != nil
		differ, scanErr := p.compare()
		if err == nil && scanErr == nil && differ == nil {
			return p.requireIdle()
		}
		if o.passes == mostPasses {
			return fmt.Errorf("NO CONVERGENCE after %d passes: %w, %q", o.passes, errors.Join(err, scanErr), differ)
		}
	}
}

// isFirstContact reports whether the session has nothing to compare the source with: it may
// begin with another directory, or with another tree.
func (c *testCase) isFirstContact() bool {
	return c.session.name == "first" || c.session.name == "adopt"
}

// mayTakeID reports whether the copy may become one of the tree whose id the fault shows: its
// source named none until then, and watch may have been started there. When the id is gone,
// the mirror deletes nothing, or refuses.
func (c *testCase) mayTakeID() bool {
	return c.kind.nameless && c.fault != nil && c.fault.names
}

// compare returns how source and copy differ.
func (p *place) compare() ([]string, error) {
	source, err := scan(p.served)
	if err != nil {
		return nil, err
	}
	have, err := scan(p.dest)
	return p.differences(source, have, "."), err
}

// requireIdle requires that one more pass asks only for the root, where stamps prune, and
// fetches nothing where they do not.
func (p *place) requireIdle() error {
	p.proxy.requests()
	err, hung := p.once(p.config)
	if err := errors.Join(err, hung); err != nil {
		return fmt.Errorf("an idle pass: %w", err)
	}
	asked := p.proxy.requests()
	if p.kind.prunes && !slices.Equal(asked, []string{"GET /?txt"}) {
		return fmt.Errorf("an idle pass asked %q", asked)
	}
	for _, line := range asked {
		method, uri, _ := strings.Cut(line, " ")
		if kind := kindOf(method, uri); p.kind.ours && (kind == isFile || kind == isTar) {
			return fmt.Errorf("an idle pass asked %q", asked)
		}
	}
	return nil
}
