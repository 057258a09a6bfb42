package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tidemark/pkg/mtree/mirror"
)

// session is what mirror does while answers are replaced.
type session struct {
	name    string
	ours    bool                                              // it makes sense with serve only
	spoils  bool                                              // the copy has other bytes than it should when it begins
	stamps  bool                                              // it makes sense only where stamps prune: elsewhere a mirror that runs looks rarely
	prepare func(p *place) error                              // up to the first answer that may be replaced
	run     func(p *place, c mirror.Config) (err, hung error) // with c while there is a fault
	mend    func(p *place, c mirror.Config) error             // what brings the copy in order afterwards besides passes; nil: nothing
}

// sessions are all of them.
var sessions = []*session{
	{name: "first", prepare: func(p *place) error {
		return errors.Join(p.harvest(0), p.become((*editor).grow), p.harvest(1), p.become((*editor).change))
	}, run: onePass},
	{name: "update", prepare: func(p *place) error { return errors.Join(p.toSecond(), p.become((*editor).change)) }, run: onePass},
	{name: "next", prepare: func(p *place) error {
		return errors.Join(p.toSecond(), p.become((*editor).change), p.clean(p.config), p.become((*editor).moveOn))
	}, run: onePass},
	{name: "delete", prepare: func(p *place) error {
		return errors.Join(p.toSecond(), p.become(func(e *editor) {
			e.remove("many")
			e.remove("grown")
			e.remove("a/second")
		}))
	}, run: onePass},
	{name: "idle", prepare: func(p *place) error { return p.toSecond() }, run: onePass},
	{name: "release", prepare: func(p *place) error {
		p.config.MaxDelete = "2"
		return errors.Join(p.toSecond(), p.become(func(e *editor) {
			e.remove("many")
			e.remove("grown/t")
			e.write("a/third", "new in the third state")
		}))
	}, run: released, mend: release},
	{name: "follow", ours: true, stamps: true, prepare: (*place).toSecond, run: followed},
	{name: "replaced", ours: true, prepare: replaced, run: onePass},
	{name: "large", ours: true, prepare: func(p *place) error { return errors.Join(p.toSecond(), p.become((*editor).addLarge)) }, run: onePass},
	{name: "continued", ours: true, prepare: continued, run: onePass},
	{name: "verify", ours: true, spoils: true, prepare: spoiled, run: verified, mend: verify},
	{name: "adopt", ours: true, spoils: true, prepare: adopted, run: adopting, mend: func(p *place, c mirror.Config) error {
		err, hung := adopting(p, c)
		return errors.Join(err, hung)
	}},
}

// toSecond brings source and copy into their second state.
func (p *place) toSecond() error {
	err := errors.Join(p.harvest(0), p.become((*editor).grow), p.harvest(1))
	if err != nil {
		return err
	}
	return p.clean(p.config)
}

// clean makes one pass that must succeed.
func (p *place) clean(c mirror.Config) error {
	err, hung := p.once(c)
	if err = errors.Join(err, hung); err != nil {
		return fmt.Errorf("a pass without a fault: %w", err)
	}
	return nil
}

func onePass(p *place, c mirror.Config) (err, hung error) { return p.once(c) }

// released makes two passes, and a release between.
func released(p *place, c mirror.Config) (err, hung error) {
	if err, hung = p.once(c); hung != nil {
		return err, hung
	}
	_ = release(p, c) // what is held now
	return p.once(c)
}

func release(p *place, c mirror.Config) error {
	err := mirror.Release(context.Background(), c)
	fmt.Fprintf(&p.log, "%s  -> %v\n", p.out.take(), err)
	return err
}

// replaced puts directories under the names of others, with files of the same names, sizes
// and times.
func replaced(p *place) error {
	if err := p.toSecond(); err != nil {
		return err
	}
	return p.become(func(e *editor) {
		for _, dir := range []string{"many", "grown"} {
			e.twin(dir, dir+".next")
			e.remove(dir)
			e.rename(dir+".next", dir)
		}
	})
}

// twin copies a directory with other bytes and the same times.
func (e *editor) twin(from, to string) {
	e.do(filepath.WalkDir(e.path(from), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		name := to + strings.TrimPrefix(path, e.path(from))
		e.write(name, strings.ToUpper(string(text)))
		return errors.Join(err, os.Chtimes(e.path(name), info.ModTime(), info.ModTime()))
	}))
}

// addLarge makes a file of which a part is kept if its transfer breaks off.
func (e *editor) addLarge() {
	e.write("large", strings.Repeat("abcdefghijklmnopqrstuvwxyz012345", 9<<15))
	e.write("a/third", "new in the third state")
}

// continued breaks off the transfer of a large file in its middle.
func continued(p *place) error {
	err := errors.Join(p.toSecond(), p.become((*editor).addLarge))
	if err != nil {
		return err
	}
	p.proxy.arm(&fault{only: []string{isFile}, when: func(ex *exchange) bool { return ex.req.URL.Path == "/large" }, make: upTo(shut, inBody)}, 1, true)
	defer p.proxy.arm(nil, 0, false)
	if err, hung := p.once(p.config); err == nil || hung != nil {
		return fmt.Errorf("a transfer that breaks off: %w", errors.Join(err, hung))
	}
	return nil
}

// spoiled changes bytes of the copy so that neither size nor time shows it.
func spoiled(p *place) error {
	if err := p.toSecond(); err != nil {
		return err
	}
	copied := &editor{root: p.dest}
	for _, name := range []string{"a/g", "many/3", "big"} {
		info, err := os.Stat(copied.path(name))
		if err != nil {
			return err
		}
		file, err := os.OpenFile(copied.path(name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = file.WriteAt([]byte("#"), 2)
		copied.do(errors.Join(err, file.Close(), os.Chtimes(copied.path(name), time.Time{}, info.ModTime())))
	}
	now, err := scan(p.dest)
	p.known.note(now)
	return errors.Join(copied.err, err)
}

func verified(p *place, c mirror.Config) (err, hung error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = mirror.Verify(ctx, c, true)
	if ctx.Err() != nil {
		hung = errors.New("--verify did not end within a minute")
	}
	fmt.Fprintf(&p.log, "%s  -> %v\n", p.out.take(), err)
	return err, hung
}

func verify(p *place, c mirror.Config) error {
	err, hung := verified(p, c)
	return errors.Join(err, hung)
}

// adopted lays files where the copy will be: some equal, some with other bytes.
func adopted(p *place) error {
	if err := errors.Join(p.harvest(0), p.become((*editor).grow), p.harvest(1)); err != nil {
		return err
	}
	copied := &editor{root: p.dest}
	for _, name := range []string{"a/f", "a/g", "many/1", "many/2", "big"} {
		info, err := os.Stat(filepath.Join(p.source, name))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(p.source, name))
		copied.do(err)
		if name == "a/g" || name == "many/2" {
			text[0] ^= 1
		}
		copied.write(name, string(text))
		copied.do(os.Chtimes(copied.path(name), info.ModTime(), info.ModTime()))
	}
	copied.write("a/stranger", "not of the source")
	now, err := scan(p.dest)
	p.known.note(now)
	return errors.Join(copied.err, err)
}

func adopting(p *place, c mirror.Config) (err, hung error) {
	c.Adopt, c.Sums = true, true
	return p.once(c)
}
