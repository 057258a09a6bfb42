package rights

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

// What becomes of the modes of a file and of a directory: as rsync and chmod(1) have it.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		rules     string
		file, dir uint32 // before
		newFile   uint32
		newDir    uint32
	}{
		{"D755,F644", 0o600, 0o700, 0o644, 0o755},
		{"644", 0o755, 0o755, 0o644, 0o644},
		{"D2", 0, 0, 0, 0}, // refused
		{"u+rwX,go-w", 0o466, 0o555, 0o644, 0o755},
		{"a+X", 0o644, 0o644, 0o644, 0o755},
		{"a+X", 0o744, 0o744, 0o755, 0o755},
		{"a-x,a+X", 0o755, 0o755, 0o755, 0o755}, // X goes by what was
		{"+w", 0o400, 0o500, 0o600, 0o700},      // the umask takes it from the others
		{"+X", 0o500, 0o400, 0o511, 0o511},
		{"=r", 0o777, 0o777, 0o444, 0o444},
		{"go=", 0o777, 0o777, 0o700, 0o700},
		{"g=rX", 0o777, 0o700, 0o757, 0o750},
		{"Fo+r,Do-rx", 0o640, 0o755, 0o644, 0o750},
		{"a+x,a-X", 0o644, 0o644, 0o644, 0o644}, // what is taken away is 'x', whatever was
		{"u=xX,o+wx", 0o644, 0o600, 0o047, 0o103},
		{"u=xX", 0o654, 0o600, 0o154, 0o100},
		{"ug-w", 0o666, 0o777, 0o446, 0o557},
		{"F0000,Fu+r", 0o777, 0o777, 0o400, 0o777},
	} {
		r, err := Parse([]string{c.rules}, "", false)
		if c.rules == "D2" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err, c.rules)
		require.False(t, r.Owns())
		was := []mtree.Entry{
			{Kind: mtree.File, Mode: c.file, Has: mtree.HasMode}, {Kind: mtree.Dir, Mode: c.dir, Has: mtree.HasMode},
			{Kind: mtree.Symlink, Mode: 0o777, Has: mtree.HasMode},
		}
		got := r.Apply(was, 0o022)
		require.Equal(t, []uint32{c.newFile, c.newDir, 0o777}, []uint32{got[0].Mode, got[1].Mode, got[2].Mode}, "%s: %o", c.rules, got[0].Mode)
		require.Equal(t, c.file, was[0].Mode, "the slice given stays as it is")
		require.Zero(t, got[0].Has&mtree.HasOwner)
	}
}

// Several lists are one. Where the source tells no mode, it is that of a new file or directory.
func TestModesThatAreNotListed(t *testing.T) {
	r, err := Parse([]string{"o-rwx", "Fg+w"}, "", false)
	require.NoError(t, err)
	got := r.Apply([]mtree.Entry{{Kind: mtree.File}, {Kind: mtree.Dir}, {Kind: mtree.Symlink}}, 0o022)
	require.Equal(t, []uint32{0o660, 0o750, 0}, []uint32{got[0].Mode, got[1].Mode, got[2].Mode})
	require.Equal(t, mtree.HasMode, got[0].Has&got[1].Has)
	require.Zero(t, got[2].Has)
}

func TestOwners(t *testing.T) {
	own := [2]uint32{uint32(os.Geteuid()), uint32(os.Getegid())}
	for _, c := range []struct {
		chown            string
		owner            bool // --owner
		listed, unlisted [2]uint32
	}{
		{"7:8", false, [2]uint32{7, 8}, [2]uint32{7, 8}},
		{"7", false, [2]uint32{7, own[1]}, [2]uint32{7, own[1]}},
		{"7:", true, [2]uint32{7, 2}, [2]uint32{7, own[1]}},
		{":8", false, [2]uint32{own[0], 8}, [2]uint32{own[0], 8}},
		{":8", true, [2]uint32{1, 8}, [2]uint32{own[0], 8}},
		{"root:root", false, [2]uint32{0, 0}, [2]uint32{0, 0}},
	} {
		r, err := Parse(nil, c.chown, c.owner)
		require.NoError(t, err, c.chown)
		require.True(t, r.Owns())
		got := r.Apply([]mtree.Entry{{Kind: mtree.Symlink, UID: 1, GID: 2, Has: mtree.HasOwner}, {Kind: mtree.File, Mode: 0o600, Has: mtree.HasMode}}, 0)
		require.Equal(t, c.listed, [2]uint32{got[0].UID, got[0].GID}, c.chown)
		require.Equal(t, c.unlisted, [2]uint32{got[1].UID, got[1].GID}, c.chown)
		require.Equal(t, mtree.HasOwner|mtree.HasMode, got[1].Has)
		require.EqualValues(t, 0o600, got[1].Mode)
	}
}

// Nothing asked for changes nothing, and costs nothing.
func TestNoRules(t *testing.T) {
	r, err := Parse(nil, "", true)
	require.NoError(t, err)
	require.Nil(t, r)
	require.False(t, r.Owns())
	is := []mtree.Entry{{Name: "f"}}
	require.Equal(t, &is[0], &r.Apply(is, 0)[0])
}

func TestWhatIsRefused(t *testing.T) {
	for _, rules := range []string{"", "x", "D", "8", "u+s", "+t", "4755", "u+r,", "u", "u+rW", "ug", "DF755", "755D", "u=rwx u", "77777"} {
		_, err := Parse([]string{rules}, "", false)
		require.ErrorContains(t, err, "--chmod", rules)
	}
	for _, owner := range []string{":", "nobody-has-this-name", ":nobody-has-this-name", "-1", "4294967295", "1:4294967296", "a:b:c"} {
		_, err := Parse(nil, owner, false)
		require.ErrorContains(t, err, "--chown", owner)
	}
}

// What the tree file records is read back.
func TestLines(t *testing.T) {
	require.Empty(t, Lines(nil, ""))
	lines := Lines([]string{"D755", "F644,o-r"}, "a:b")
	require.Equal(t, []string{"chmod D755,F644,o-r", "chown a:b"}, lines)
	chmod, _, ok := ParseLine(lines[0])
	require.True(t, ok)
	require.Equal(t, "D755,F644,o-r", chmod)
	_, chown, ok := ParseLine(lines[1])
	require.True(t, ok)
	require.Equal(t, "a:b", chown)
	_, _, ok = ParseLine("- chown")
	require.False(t, ok)
}
