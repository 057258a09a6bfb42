package pass

import (
	"maps"
	"slices"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/disk"
)

// Of the names of one file the first that is found leads: it is fetched. The others follow: they wait
// until it has arrived, and are linked to it.

// follows reports whether a file to fetch is to be linked instead. If it is not, and has other names, it
// leads.
func (p *pass) follows(n *node, c *mtree.Change) bool {
	if !p.env.MayLink(&n.Target, c) {
		return false
	}
	if _, isLed := p.leading[c.Want.Same]; isLed || p.env.KnowsName(c.Want) {
		return true
	}
	p.lead(c.Want.Same)
	return false
}

// addFollowers links files, or lets them wait for the ones that lead. If the one that led did not arrive
// as it was listed, one of them leads.
func (p *pass) addFollowers(n *node, changes []mtree.Change) {
	for i := range changes {
		c := changes[i : i+1 : i+1]
		waiting, isLed := p.leading[c[0].Want.Same]
		switch {
		case isLed:
			n.open++
			p.leading[c[0].Want.Same] = append(waiting, nodeFiles{n: n, changes: detached(c)})
		case p.env.KnowsName(c[0].Want):
			p.queue.addLinks(nodeFiles{n: n, changes: c})
		default:
			p.lead(c[0].Want.Same)
			p.queue.addFiles(n, c, 0)
		}
	}
}

// addFollowing adds the files of a directory that was filled in the staging directory and has its name now.
func (p *pass) addFollowing(n *node) {
	if some := n.following; some != nil {
		n.following = nil
		p.addFollowers(n, some)
		p.done(n)
	}
}

func (p *pass) lead(same uint64) {
	if p.leading == nil {
		p.leading = leading{}
	}
	p.leading[same] = nil
}

// arrived hands out what followed files that were fetched, or were to be.
func (p *pass) arrived(changes []mtree.Change) {
	if len(p.leading) == 0 {
		return
	}
	for i := range changes {
		same := changes[i].Want.Same
		followers, isLed := p.leading[same]
		if !isLed || changes[i].Want.Has&mtree.HasSame == 0 {
			continue
		}
		delete(p.leading, same)
		for _, f := range followers {
			p.addFollowers(f.n, f.changes)
			p.done(f.n)
		}
	}
}

// byNode puts the files of each node together.
func byNode(files []nodeFiles) (groups []nodeFiles) {
	at := map[*node]int{}
	for _, f := range files {
		i, ok := at[f.n]
		if !ok {
			i = len(groups)
			at[f.n] = i
			groups = append(groups, nodeFiles{n: f.n})
		}
		groups[i].changes = append(groups[i].changes, f.changes...)
	}
	return groups
}

// fetchUnlinked fetches files that could not be linked: one of each file, which the others follow.
func (p *pass) fetchUnlinked(n *node, changes []mtree.Change) {
	for i := range changes {
		c := changes[i : i+1]
		same := c[0].Want.Same
		if waiting, isLed := p.leading[same]; isLed {
			n.open++
			p.leading[same] = append(waiting, nodeFiles{n: n, changes: detached(c)})
			continue
		}
		p.lead(same)
		p.queue.addFiles(n, c, 0)
	}
}

// abandonFollowers ends what waits for files that are not fetched any more.
func (p *pass) abandonFollowers() {
	for same, followers := range p.leading {
		delete(p.leading, same)
		for _, f := range followers {
			f.n.blocked, f.n.uncompared = true, true
			p.done(f.n)
		}
	}
}

// abandonFollowing ends what waits for the other files of its directory.
func (p *pass) abandonFollowing(n *node) {
	if n.following != nil {
		n.following = nil
		p.done(n)
	}
}

// without returns the changes that are not among rest, which is a part of them, in order.
func without(changes, rest []mtree.Change) (others []mtree.Change) {
	for _, c := range changes {
		if len(rest) > 0 && rest[0].Want == c.Want {
			rest = rest[1:]
		} else {
			others = append(others, c)
		}
	}
	return others
}

// commitLinks writes which names are links, and marks the directories with names that show what their files
// were before they were changed under other names. The source heard it under those only, so no stamp
// tells of it. It comes before the stamp of what was changed: if the pass is killed after that, the next one
// looks there all the same. If nothing was changed, no directory is marked: a source that says something
// else each time would have mirror look for ever. A copy that is not finished shows a changed file under one
// name alone at first: that is looked at again, too, when the others have been linked to it.
func (p *pass) commitLinks() {
	index := p.env.Replica.Links
	if index == nil {
		return
	}
	behind, left := index.Behind(p.isStill), index.Left()
	if p.env.Root.Hot {
		maps.Copy(behind, left) // guard: TestTheOtherNameInACopyOfACopy
	}
	if p.changedAny && len(behind) > 0 {
		p.markAllBehind(behind)
		if err := p.flushMarks(); err != nil {
			p.env.Log.Warn("names of files that were changed under others are forgotten: the flush failed", "error", err,
				"remedy", "look whether the disk of DEST is sound; the next full walk finds them")
			index.Forget()
			return
		}
	}
	index.Commit(!p.options.NoFlush) // guard: TestLinksAcrossPasses
}

// markAllBehind marks directories before the index says what their files are now: after a kill nothing else
// would lead there.
func (p *pass) markAllBehind(behind map[string]bool) {
	for _, path := range slices.Sorted(maps.Keys(behind)) {
		err := p.env.Replica.MarkUnfinished(path)
		if disk.IsGone(err) {
			continue
		}
		if err != nil {
			p.env.Log.Warn("a directory whose files were changed under other names could not be marked", "path", mtree.QuotePath(path), "error", err,
				"remedy", "make room on the file system of DEST, and give mirror the right to write there")
		}
		p.markBehind(path)
	}
}

// flushMarks makes the marks durable: on btrfs the fsync of the index would bring that to the disk without
// them.
func (p *pass) flushMarks() error {
	if p.options.NoFlush {
		return nil
	}
	return p.env.Replica.Flush()
}

// markBehind keeps a directory, and all above it, from being completed in this pass.
func (p *pass) markBehind(path string) {
	if p.behind == nil {
		p.behind = map[string]bool{}
	}
	for p.result.Behind = true; !p.behind[path]; path = mtree.ParentPath(path) {
		p.behind[path] = true
	}
}

// mayStayBehind reports whether a directory of a copy of a copy may show what its files were before, though it
// equals its source: that changed a file under another name first, and has not linked this one yet. No stamp
// moves when it does. So a directory that is looked at again stays unfinished as long as the source is.
func (p *pass) mayStayBehind(n *node) bool {
	return p.env.Replica.Links != nil && p.env.Root.Hot && n.had && n.before.IsUnfinished() // guard (returns false): TestTheOtherNameInACopyOfACopy
}

// isStill reports whether the copy has, at path, the file with this inode number, or may have: its owner may
// lack rights to the directory, which a visit will give.
func (p *pass) isStill(path string, node uint64) bool {
	dir, err := p.env.Replica.Dir(mtree.ParentPath(path))
	if err != nil {
		return disk.IsDenied(err) // guard (returns false): TestAnotherNameInADirectoryWithoutRights
	}
	defer dir.Close()
	info, err := dir.Stat(mtree.BaseName(path))
	// guard (without disk.IsDenied(err)): TestAnotherNameInADirectoryWithoutRights
	return disk.IsDenied(err) || err == nil && info.Kind == mtree.File && info.Node.Ino == node
}
