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
// else each time would have mirror look for ever.
func (p *pass) commitLinks() {
	index := p.env.Replica.Links
	if index == nil {
		return
	}
	behind := index.Behind(p.isStill)
	if p.changedAny && len(behind) > 0 {
		p.markAllBehind(behind)
		if err := p.flushMarks(); err != nil {
			p.env.Log.Warn("names of files that were changed under others are forgotten: the flush failed", "error", err)
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
			p.env.Log.Warn("a directory whose files were changed under other names could not be marked", "path", mtree.QuotePath(path), "error", err)
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

// isStill reports whether the copy has, at path, the file with this inode number.
func (p *pass) isStill(path string, node uint64) bool {
	dir, err := p.env.Replica.Dir(mtree.ParentPath(path))
	if err != nil {
		return false
	}
	defer dir.Close()
	info, err := dir.Stat(mtree.BaseName(path))
	return err == nil && info.Kind == mtree.File && info.Node.Ino == node
}
