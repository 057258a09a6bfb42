package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tidemark/pkg/mtree/exit"
)

// checkPass returns what is wrong after a pass that ended with err; before is what the
// copy had, and expect what may be wrong.
func (p *place) checkPass(before tree, err error, may expect) error {
	source, scanErr := scan(p.served)
	have, haveErr := scan(p.dest)
	if errors.Is(haveErr, fs.ErrNotExist) {
		have, haveErr = tree{}, nil
	}
	if err := errors.Join(scanErr, haveErr); err != nil {
		return err
	}
	p.known.note(source)
	wrong := []error{p.checkOutside(), checkRemedy(err)}
	if !may.blind {
		wrong = append(wrong, checkDeletions(source, before, have), p.checkVersions(have, may.another))
	}
	if !may.blind && !may.spoiled && p.kind.prunes {
		wrong = append(wrong, p.checkStamps(source, have))
	}
	if differ := p.differences(source, have, "."); err == nil && differ != nil && may == (expect{}) {
		wrong = append(wrong, fmt.Errorf("the pass succeeded, and the copy differs: %v", differ))
	}
	return errors.Join(wrong...)
}

// expect says what may be wrong after a pass.
type expect struct {
	blind   bool // anything within the copy: nothing shows the fault
	spoiled bool // bytes of files, which were spoiled before
	another bool // a file may have the bytes of another one
	moves   bool // the pass may succeed and the copy be of another moment
}

// expected says what may be wrong while there is the fault, or after it.
func (c *testCase) expected(after bool) expect {
	e := expect{spoiled: c.session.spoils}
	if f := c.fault; f != nil {
		e.blind = f.blind || f.blindElsewhere && !c.kind.ours
		// Somebody releases what is held because of the fault: mirror does what it is told.
		e.blind = e.blind || f.stranger && c.on && c.session.name == "release" && !after
		e.moves = (f.moves || (f.stranger || f.otherDir) && c.isFirstContact()) && !after
		e.another = f.another && c.on && !after
	}
	return e
}

// checkDeletions: what the source has and the copy had, the copy has.
func checkDeletions(source, before, have tree) error {
	var lost []string
	for path := range before {
		_, is := source[path]
		if _, still := have[path]; is && !still {
			lost = append(lost, path)
		}
	}
	if lost == nil {
		return nil
	}
	slices.Sort(lost)
	return fmt.Errorf("WRONG DELETION of what the source has: %q", lost)
}

// checkVersions: each name is one that the source had, with the bytes that it had, or that
// any file had.
func (p *place) checkVersions(have tree, orAny bool) error {
	var wrong []string
	for path, e := range have {
		switch versions := p.known[path]; {
		case versions == nil:
			wrong = append(wrong, fmt.Sprintf("%q never was", path))
		case !versions[e.version()] && !(orAny && p.known.any(e.version())):
			wrong = append(wrong, fmt.Sprintf("%q never had %s", path, e.bytes))
		}
	}
	if wrong == nil {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("TORN: %q", wrong)
}

// checkStamps: a directory of the copy that has the source's stamp equals it.
func (p *place) checkStamps(source, have tree) error {
	var wrong []error
	for path, e := range have {
		if is, ok := source[path]; !ok || !e.kind.IsDir() || !is.kind.IsDir() || !is.mtime.Equal(e.mtime) {
			continue
		}
		if differ := p.differences(source, have, path); differ != nil {
			wrong = append(wrong, fmt.Errorf("FALSE STAMP of %q: %v", path, differ))
		}
	}
	return errors.Join(wrong...)
}

// differences compares what is at and below a directory. For a server of another kind
// modes and times do not count: it does not tell them exactly.
func (p *place) differences(source, have tree, dir string) (differ []string) {
	for path, is := range source {
		if !isAbove(dir, path) {
			continue
		}
		e, ok := have[path]
		switch exact := p.kind.ours; {
		case !ok:
			differ = append(differ, fmt.Sprintf("%q is missing", path))
		case e.version() != is.version():
			differ = append(differ, fmt.Sprintf("%q: %s, not %s", path, e.version(), is.version()))
		case exact && e.mode != is.mode:
			differ = append(differ, fmt.Sprintf("%q: mode %v, not %v", path, e.mode, is.mode))
		case exact && !e.mtime.Equal(is.mtime):
			differ = append(differ, fmt.Sprintf("%q: of %v, not %v", path, e.mtime, is.mtime))
		}
	}
	for path := range have {
		if _, ok := source[path]; !ok && isAbove(dir, path) {
			differ = append(differ, fmt.Sprintf("%q is too much", path))
		}
	}
	slices.Sort(differ)
	return differ
}

// checkOutside: beside the copy nothing was made or changed.
func (p *place) checkOutside() error {
	text, err := os.ReadFile(filepath.Join(p.dir, "canary"))
	if err != nil || string(text) != "outside" {
		return fmt.Errorf("OUTSIDE: the file beside the copy: %q, %w", text, err)
	}
	entries, err := os.ReadDir(p.dir)
	for _, e := range entries {
		if !slices.Contains([]string{"canary", "copy", "middle", "source"}, e.Name()) {
			err = errors.Join(err, fmt.Errorf("OUTSIDE: %q was made", e.Name()))
		}
	}
	return err
}

// checkRemedy: an error that ended the pass says what to do about it.
func checkRemedy(err error) error {
	if err == nil || exit.Of(err) == exit.Failed || hasRemedy(err) || strings.Contains(err.Error(), "give that URL") {
		return nil
	}
	return fmt.Errorf("NO REMEDY in the error: %w", err)
}

func hasRemedy(err error) bool {
	if e, ok := err.(*exit.Error); ok && e.Remedy != "" {
		return true
	}
	switch wrapped := err.(type) {
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wrapped.Unwrap(), hasRemedy)
	case interface{ Unwrap() error }:
		return hasRemedy(wrapped.Unwrap())
	}
	return false
}
