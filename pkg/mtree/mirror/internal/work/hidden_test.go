package work

import (
	"cmp"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/internal/records"
	"tidemark/pkg/mtree/mirror/internal/plan"
	"tidemark/pkg/mtree/mirror/internal/replica"
	"tidemark/pkg/mtree/mirror/internal/source"
)

// Record and listing alone decide what the source may hide.
func TestHides(t *testing.T) {
	for i, tc := range []struct {
		excluded int64
		covered  int64
		before   records.Record
		had      bool
		deep     bool
		want     plan.Hidden
	}{
		{0, 0, records.Record{}, false, false, plan.HiddenNone},
		{0, 0, records.Record{Excluded: 3, Fingerprint: "other"}, true, false, plan.HiddenNone},
		{1, 0, records.Record{}, true, false, plan.HiddenDirs},
		{1, 0, records.Record{}, true, true, plan.HiddenAny},
		{1, 0, records.Record{}, false, false, plan.HiddenAny},
		{3, 0, records.Record{Excluded: 3, Fingerprint: "e"}, true, true, plan.HiddenNone},
		{4, 0, records.Record{Excluded: 3, Fingerprint: "e"}, true, true, plan.HiddenDirs},
		{2, 0, records.Record{Excluded: 3, Fingerprint: "e"}, true, false, plan.HiddenNone},
		{3, 1, records.Record{Excluded: 3, Fingerprint: "e"}, true, false, plan.HiddenNone},
		{4, 1, records.Record{Excluded: 3, Fingerprint: "e"}, true, false, plan.HiddenAny},
		{2, 0, records.Record{Excluded: 3, Fingerprint: "other"}, true, false, plan.HiddenAny},
		{2, 0, records.Record{Fingerprint: otherFingerprint}, true, false, plan.HiddenAny},
	} {
		env := &Env{Root: &source.Root{Dir: source.Dir{Fingerprint: "e"}}, Replica: &replica.Replica{}}
		l := mtree.Listing{Excluded: tc.excluded, Covered: tc.covered}
		require.Equal(t, tc.want, env.hidden(&l, tc.before, tc.had && !tc.deep), "%d", i)
	}
}

// A file that serve left out went, and something was mounted over another one: as many were
// left out as before, and the second was deleted from the copy.
func TestAnotherMount(t *testing.T) {
	env := &Env{Root: &source.Root{Dir: source.Dir{Fingerprint: "e"}}, Replica: &replica.Replica{}}
	for _, tc := range []struct {
		now, before string
		covered     int64
		want        plan.Hidden
	}{
		{"", "e", 0, plan.HiddenNone}, {"", "e+ab", 0, plan.HiddenNone}, {"ab", "e+ab", 1, plan.HiddenNone},
		{"ab", "e", 0, plan.HiddenDirs}, {"ab", "e+cd", 0, plan.HiddenDirs}, {"ab", "e", 1, plan.HiddenAny}, {"ab", "e+cd", 1, plan.HiddenAny},
		{"ab", "f+ab", 0, plan.HiddenAny}, {"ab", "+ab", 0, plan.HiddenNone}, {"ab", "e+ab!", 1, plan.HiddenNone}, {"", "e!", 0, plan.HiddenNone}, {"", "!", 0, plan.HiddenNone},
	} {
		l := mtree.Listing{Excluded: 2, Covered: tc.covered, Mounts: tc.now}
		require.Equal(t, tc.want, env.hidden(&l, records.Record{Excluded: 2, Fingerprint: tc.before}, true), "%+v", tc)
	}
	for mounts, noted := range map[string]string{"": "e", "ab": "e+ab"} {
		v := VisitResult{}
		v.Listing.Excluded, v.Listing.Mounts = 2, mounts
		env.recordHidden(&v)
		require.Equal(t, records.Record{Excluded: 2, Fingerprint: noted}, v.Record)
	}
}

// After an earlier .tidemark was put back, the copy's own fingerprint is the one that stands for
// options that nobody knows. If a proxy removes the source's, records of such directories must not
// count as of the present options: what is hidden there would be deleted.
func TestWhatOfNoOptionsIsNeverKnown(t *testing.T) {
	env := &Env{Root: &source.Root{Dir: source.Dir{Fingerprint: otherFingerprint}}, Replica: &replica.Replica{}}
	require.False(t, env.knowsHidden(records.Record{Fingerprint: otherFingerprint}, true))
	env.Root.Fingerprint = "e"
	require.True(t, env.knowsHidden(records.Record{Fingerprint: "e"}, false))
}

// What a record says of entries left out: their number, if the copy has none of them; if it may
// have some, what it said before, as long as that is of the same options. What is to be deleted
// counted as gone before it was: if it was held, and serve left its name out meanwhile, it was
// deleted though the source had it again.
func TestWhatIsRecordedOfWhatIsLeftOut(t *testing.T) {
	was := records.Record{Excluded: 1, Fingerprint: "e"}
	stayed := records.Record{Excluded: 1, Fingerprint: "e!"}
	counted, unknown := records.Record{Excluded: 2, Fingerprint: "e"}, records.Record{Fingerprint: otherFingerprint}
	kept := []*mtree.Entry{{}}
	for name, c := range map[string]struct {
		had    bool
		before records.Record
		doubts replica.Doubts
		kept   []*mtree.Entry
		extra  []*mtree.Entry
		other  bool
		want   records.Record
		begun  records.Record // until it is complete; zero: the same
	}{
		"none kept":                         {had: true, before: was, want: counted},
		"kept":                              {had: true, before: was, kept: kept, want: stayed},
		"kept again":                        {had: true, before: stayed, kept: kept, want: stayed},
		"kept no longer":                    {had: true, before: stayed, want: counted},
		"kept, not counted before":          {had: true, kept: kept, want: records.Record{Fingerprint: "!"}},
		"kept again, not counted":           {had: true, before: records.Record{Fingerprint: "!"}, kept: kept, want: records.Record{Fingerprint: "!"}},
		"kept, not counted and doubted":     {had: true, doubts: replica.DoubtBelow, kept: kept, want: unknown},
		"kept, by other options":            {had: true, before: records.Record{Excluded: 1, Fingerprint: "f"}, kept: kept, want: unknown},
		"kept, without a record":            {kept: kept, want: unknown},
		"a serve with other options":        {had: true, before: was, other: true, want: unknown},
		"a serve with other options, kept":  {had: true, before: was, kept: kept, other: true, want: unknown},
		"counted before, and doubted below": {had: true, before: was, doubts: replica.DoubtBelow, kept: kept, want: stayed},
		"kept, of another copy":             {had: true, doubts: replica.DoubtHidden, kept: kept, want: unknown},
		"to be deleted":                     {had: true, before: was, extra: kept, want: counted},
		"to be deleted, by other options":   {had: true, before: records.Record{Excluded: 1, Fingerprint: "f"}, extra: kept, want: counted, begun: unknown},
		"by other options, nothing goes":    {had: true, before: records.Record{Excluded: 1, Fingerprint: "f"}, want: counted},
		"to be deleted, of another copy":    {had: true, doubts: replica.DoubtHidden, extra: kept, want: counted, begun: unknown},
		"to be deleted, without a record":   {extra: kept, want: counted, begun: unknown},
	} {
		env := &Env{Root: &source.Root{Dir: source.Dir{Fingerprint: "e"}}, Replica: &replica.Replica{}}
		v := &VisitResult{Had: c.had, Before: c.before, Doubts: c.doubts, Other: c.other}
		v.Plan.Kept, v.Plan.Hides, v.Plan.Extra, v.Listing.Excluded = c.kept, c.kept != nil, c.extra, 2
		env.recordHidden(v)
		require.Equal(t, c.want, v.Record, name)
		require.Equal(t, cmp.Or(c.begun, c.want), v.asTarget(&Target{}).Begun(), name)
	}
	for _, c := range []struct {
		root, listed string
		other        bool
	}{{"e", "e", false}, {"e", "f", true}, {"", "f", false}, {"e", "", false}} {
		env := &Env{Root: &source.Root{Dir: source.Dir{Fingerprint: c.root}}}
		require.Equal(t, c.other, env.isOfOtherOptions(&source.Dir{Fingerprint: c.listed}))
	}
}
