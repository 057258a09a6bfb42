package audit

import (
	"errors"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
	"tidemark/pkg/mtree/internal/notify"
	"tidemark/pkg/mtree/internal/state"
	"tidemark/pkg/mtree/watch/internal/stamprule"
)

// visit opens, arms, lists and judges one directory.
func (s *scan) visit(v *visit) {
	v.waiting.Store(1)
	v.pending.Store(1)
	err := s.open(v)
	if v.parent != nil {
		v.parent.opened()
	}
	if v.dir != nil {
		err = s.list(v)
	}
	if err != nil {
		s.unreadable(v, err)
	}
	if v.dir != nil {
		v.opened()
	}
	s.finished(v)
}

// open opens and arms v. A directory that is not to be entered stays closed.
func (s *scan) open(v *visit) (err error) {
	var dir *disk.Dir
	if v.parent == nil {
		dir, err = s.Root.OpenDirPath("", true) // anew: a scan moves the position of its descriptor
	} else {
		dir, err = v.parent.dir.OpenDir(v.name)
	}
	if err != nil {
		return err
	}
	info, err := dir.Self()
	enters := false
	if err == nil {
		enters, err = s.enters(v, dir, info)
	}
	if enters && v.fresh { // guard: TestRemovedBeforeItIsHeard
		info, err = dir.Self() // what was removed since the first look, no event tells and no entry shows
		enters = err == nil
	}
	if !enters {
		_ = dir.Close()
		return err
	}
	if !s.First && s.Health.Exceptions.AnyRefuses() {
		if stamp, ok := s.Health.Exceptions.StampOf(v.path(), info.Node.Ino); ok {
			info.MTime = stamp // its published stamp
		}
	}
	v.dir, v.info = dir, info
	v.arrived = s.isNew(v) || v.arrived // isNew first: it also tells the exceptions that v is read
	s.directories.Add(1)
	return nil
}

// enters arms v, unless another file system begins there, and reports whether v is scanned.
func (s *scan) enters(v *visit, dir *disk.Dir, info disk.Info) (bool, error) {
	if v.parent != nil && info.MountRoot { // guard: TestMountsThatAnAuditSaw
		s.noteMount(v.path()) // it may have come since it was listed
	}
	if v.parent != nil && (s.beyond(v.parent.info, info) || dir.IsPlaceholder(info)) {
		return false, nil
	}
	if err := s.arm(v, dir, info); err != nil {
		return false, err
	}
	if v.parent != nil && state.IsLiveTree(dir) {
		s.border(v, info)
		return false, nil // armed because its watcher may end
	}
	return true, nil
}

// beyond reports whether another file system begins at child, which is not entered.
func (s *scan) beyond(parent, child disk.Info) bool {
	return !s.CrossMounts && disk.IsBorder(parent, child)
}

// arm begins to hear v. If v cannot be heard, it is still scanned. What is mounted may be armed,
// and not heard where others change it.
func (s *scan) arm(v *visit, dir *disk.Dir, info disk.Info) (err error) {
	if v.parent == nil {
		v.ref, v.fresh, err = s.Source.Arm(notify.Ref{}, -1, "", dir.FD())
	} else if v.parent.ref != (notify.Ref{}) {
		v.ref, v.fresh, err = s.Source.Arm(v.parent.ref, v.parent.dir.FD(), v.name, dir.FD())
		if err == nil && info.MountRoot { // guard: TestMountsThatAreNotHeard
			err = notify.Supported(dir.FD())
		}
	}
	if err == nil || errors.Is(err, notify.ErrGone) {
		return err
	}
	s.Health.CannotHear(err)
	return nil
}

// isNew reports whether v is entered for the first time after it could not be read, or
// after another watch or mirror ran in it: it is not known which stamps its readers have.
func (s *scan) isNew(v *visit) bool {
	if v.parent == nil || len(s.unread)+len(s.Earlier) == 0 {
		return false
	}
	path := v.path()
	if s.unread[path] {
		s.Health.Exceptions.Enter(path)
	}
	return s.unread[path] || s.Earlier[path] || s.Earlier[""]
}

// border judges the root of another tree below this one, as an entry of its parent;
// nothing inside it is looked at.
func (s *scan) border(v *visit, info disk.Info) {
	s.Borders.Add(v.path())
	now := s.Now()
	v.parent.raise(stamprule.Past(info.MTime, info.CTime, now))
	if !info.CTime.Before(s.Since) {
		s.report(Finding{
			Path:  v.parent.path(),
			MTime: stamprule.Past(info.MTime, mtree.MinStamp, now), CTime: stamprule.Past(info.CTime, mtree.MinStamp, now),
		})
	}
}

// list reads v, pushes its subdirectories and reports a finding if v changed.
func (s *scan) list(v *visit) error {
	now := s.Now()
	f := Finding{MTime: mtree.MinStamp, CTime: mtree.MinStamp, Came: mtree.MinStamp}
	v.judged = s.judged(v.info.CTime, now)
	changed := s.judgeSelf(v, now)
	v.came = stamprule.Past(v.info.CTime, mtree.MinStamp, now)
	if v.parent != nil {
		v.came = mtree.Later(v.came, v.parent.came)
	}
	if v.arrived {
		f.Came = v.came // guard: TestArrivedWithATimeThatItsNameShowed
	}
	v.raise(stamprule.Past(v.info.MTime, v.info.CTime, now))
	var below []*visit
	var counted tally
	err := v.dir.ScanStat(func(name []byte, info disk.Info) error {
		if s.skips(v, name, info) {
			return nil
		}
		if info.Kind == mtree.Dir {
			below = append(below, &visit{
				parent: v, name: string(name), inode: info.Node.Ino, ctime: info.CTime, greatest: mtree.MinStamp,
				arrived: v.arrived || mayBeExchanged(v, info),
			})
			return nil
		}
		counted.add(info.Kind, info.Size)
		v.raise(stamprule.Past(info.MTime, info.CTime, now))
		if s.judge(v, info) {
			changed = true
			f.MTime = mtree.Later(f.MTime, stamprule.Past(info.MTime, mtree.MinStamp, now))
			f.CTime = mtree.Later(f.CTime, stamprule.Past(info.CTime, mtree.MinStamp, now))
		}
		return nil
	})
	s.count(counted)
	if changed {
		f.Path, f.Judged, f.Below = v.path(), v.judged, v.below
		s.report(f)
	}
	s.push(v, below)
	return err
}

// tally counts the entries of one directory that are no directories.
type tally struct{ files, bytes, others int64 }

func (t *tally) add(kind mtree.Kind, size int64) {
	if kind != mtree.File {
		t.others++
		return
	}
	t.files++
	t.bytes += size
}

// count adds what one directory has to the counts of the scan.
func (s *scan) count(t tally) {
	s.files.Add(t.files)
	s.bytes.Add(t.bytes)
	s.others.Add(t.others)
}

// skips reports whether an entry of v is not looked at: it is excluded, or another file
// system begins there.
func (s *scan) skips(v *visit, name []byte, info disk.Info) bool {
	isDir := info.Kind == mtree.Dir
	if !s.Exclude.Empty() && s.Exclude.Excluded(mtree.JoinPath(v.path(), string(name)), isDir) {
		return true
	}
	if info.MountRoot { // guard: TestMountsThatAnAuditSaw
		s.noteMount(mtree.JoinPath(v.path(), string(name)))
	}
	if info.MountRoot && s.Unfollowed != nil { // guard: TestMountsThatNobodyFollows
		s.mounted.Store(true)
		s.Health.CannotHear(s.Unfollowed)
	}
	if isDir && s.beyond(v.info, info) {
		s.Health.PassOver(mtree.JoinPath(v.path(), string(name)))
		return true
	}
	return false
}

// noteMount notes that something was mounted at a path.
func (s *scan) noteMount(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mounts == nil {
		s.mounts = map[string]bool{}
	}
	s.mounts[path] = true
}

// unreadable handles a directory that could not be opened or read. If it was read before, it
// is no longer published: by that the directories above it change, once. Its mode and owner are
// published still; if the directory that it is in was written since they were set, they are.
// One that is gone has an event of that.
func (s *scan) unreadable(v *visit, err error) {
	if v.parent == nil {
		s.mu.Lock()
		s.failed = err
		s.mu.Unlock()
		return
	}
	if disk.IsGone(err) || errors.Is(err, notify.ErrGone) {
		return
	}
	isNew := s.Health.CannotRead(v.path(), v.inode, err)
	changed := !v.ctime.Before(s.Since)             // guard (!v.ctime.Before(s.Since) -> false): TestModeOfWhatCannotBeRead
	written := v.parent.info.CTime.After(v.ctime)   // guard (v.parent.info.CTime.After(v.ctime) -> false): TestUnreadIsReadAgain
	if !s.First && (isNew || changed && !written) { // guard (without isNew): TestWhatAnAuditCannotRead
		s.report(Finding{Path: v.parent.path(), MTime: mtree.MinStamp, CTime: mtree.MinStamp})
	}
}
