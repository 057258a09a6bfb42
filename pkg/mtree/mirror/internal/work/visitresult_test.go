package work

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/wire"
)

// Of which directories it is not known where their files come from: of those that were begun
// before they were listed, and of those that had no id when they were copied.
func TestFilesOfUnknownOrigin(t *testing.T) {
	begun := mtree.MinStamp.Add(7)
	have := []mtree.Entry{file("f")}
	for name, c := range map[string]struct {
		record  *records.Record
		have    []mtree.Entry
		id      string // that is listed now
		hasNow  bool
		unknown bool
	}{
		"known":                        {record: &records.Record{Stamp: before, Now: before, ID: ours}, have: have, id: ours, hasNow: true},
		"it had no id":                 {record: &records.Record{Stamp: before, Now: before}, have: have, id: ours, unknown: true},
		"it has none now":              {record: &records.Record{Stamp: before, Now: before}, have: have},
		"it had no id and no files":    {record: &records.Record{Stamp: before, Now: before}, id: ours},
		"begun, not listed":            {record: &records.Record{Stamp: begun, ID: ours}, have: have, id: ours, hasNow: true, unknown: true},
		"begun and listed":             {record: &records.Record{Stamp: begun, Now: before, ID: ours}, have: have, id: ours, hasNow: true},
		"begun, no files":              {record: &records.Record{Stamp: begun, ID: ours}, id: ours, hasNow: true},
		"begun, listed without a time": {record: &records.Record{Stamp: begun, ID: ours}, have: have, id: ours},
		"complete without a time":      {record: &records.Record{Stamp: before, ID: ours}, have: have, id: ours, hasNow: true},
		"no record":                    {have: have, id: ours, hasNow: true},
	} {
		v := &VisitResult{Had: c.record != nil}
		if v.Had {
			v.Before = *c.record
		}
		v.Listing.ID, v.Listing.HasNow = c.id, c.hasNow
		require.Equal(t, c.unknown, v.isUnproved(c.have), name)
	}
}

// A listing is hot, or one entry in it.
func TestWhatIsHot(t *testing.T) {
	hot := file("g")
	hot.Hot = true
	v := &VisitResult{}
	v.Listing.Entries = []mtree.Entry{file("f")}
	require.False(t, v.IsHot())
	v.Listing.Entries = append(v.Listing.Entries, hot, file("h"))
	require.True(t, v.IsHot())
	v.Listing.Entries, v.Listing.Hot = nil, true
	require.True(t, v.IsHot())
}

// Names that were free are made; one that another kind of entry has is removed.
func TestWhatAPlanMakesAndRemoves(t *testing.T) {
	f, d, l := file("f"), dir("f"), entry(mtree.Symlink, "f")
	for name, c := range map[string]struct {
		set     func(v *VisitResult)
		made    int64
		removes bool
	}{
		"nothing":            {set: func(*VisitResult) {}},
		"a new directory":    {set: func(v *VisitResult) { v.Plan.MakeDirs = []mtree.Change{{Want: &d}} }, made: 1},
		"for a file":         {set: func(v *VisitResult) { v.Plan.MakeDirs = []mtree.Change{{Want: &d, Have: &f}} }, removes: true},
		"a new symlink":      {set: func(v *VisitResult) { v.Plan.MakeLinks = []mtree.Change{{Want: &l}} }, made: 1},
		"another symlink":    {set: func(v *VisitResult) { v.Plan.MakeLinks = []mtree.Change{{Want: &l, Have: &l}} }},
		"for a directory":    {set: func(v *VisitResult) { v.Plan.MakeLinks = []mtree.Change{{Want: &l, Have: &d}} }, removes: true},
		"a new file":         {set: func(v *VisitResult) { v.Plan.Fetch = []mtree.Change{{Want: &f}} }},
		"another version":    {set: func(v *VisitResult) { v.Plan.Fetch = []mtree.Change{{Want: &f, Have: &f}} }},
		"a file for a link":  {set: func(v *VisitResult) { v.Plan.Fetch = []mtree.Change{{Want: &f, Have: &l}} }, removes: true},
		"one that goes":      {set: func(v *VisitResult) { v.Plan.Extra = []*mtree.Entry{&f} }, removes: true},
		"one that is hidden": {set: func(v *VisitResult) { v.Plan.Kept = []*mtree.Entry{&f} }},
	} {
		v := &VisitResult{}
		c.set(v)
		require.Equal(t, c.made, v.Made(), name)
		require.Equal(t, c.removes, v.removes(), name)
	}
}

// What the record says of entries left out does not count where that is in doubt: what may be
// hidden is kept.
func TestWhatIsHiddenIsInDoubt(t *testing.T) {
	for doubts, want := range map[replica.Doubts]string{0: "old", replica.DoubtHidden: "", replica.DoubtClock: "old"} {
		b := newBench(t, 0, "f old")
		b.record(records.Record{Stamp: before, Now: before, ID: ours, Excluded: 2, Fingerprint: "e"})
		b.begin(doubts)
		b.list(gone("old"))
		b.listing.Excluded, b.listing.Covered = 2, 1
		v := b.visit()
		require.Equal(t, want, v.goes(), doubts)
		require.Equal(t, doubts, v.Doubts)
	}
}

// A directory was put back out of a backup without extended attributes, while its files had
// changed at the source under their sizes and times: the copy kept the old bytes. Only a copy that
// is not complete yet may have directories without a record, as one that is being adopted.
func TestADirectoryThatLostItsRecord(t *testing.T) {
	for _, c := range []struct {
		had, entries bool
		state        wire.State
		want         bool
	}{
		{entries: true, state: wire.Mirrored, want: true},
		{entries: true, state: ""},
		{entries: true, state: wire.Filling},
		{state: wire.Mirrored},
		{had: true, entries: true, state: wire.Mirrored},
	} {
		v := VisitResult{Had: c.had}
		var have []mtree.Entry
		if c.entries {
			have = append(have, file("f"))
		}
		require.Equal(t, c.want, v.isStripped(have, c.state), c)
	}
}
