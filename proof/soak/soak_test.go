package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// In make soak ONLY=..., marks and mutants got that list as a regular expression for files: they
// mutated nothing, and were "ok".
func TestPartsOfMakeGetNoList(t *testing.T) {
	for _, p := range parts {
		require.True(t, p.args[0] != "make" || slices.Contains(p.args, "ONLY="), p.name)
	}
}

func TestChoose(t *testing.T) {
	all, err := choose("")
	require.NoError(t, err)
	require.Equal(t, parts, all)
	some, err := choose("wire,world")
	require.NoError(t, err)
	require.Equal(t, []string{"wire", "world"}, []string{some[0].name, some[1].name})
	_, err = choose("wold")
	require.ErrorContains(t, err, `"wold"`)
}

// A part that fails, one that counts, one that is told its time: the table says all of it,
// and a failure is the soak's.
func TestAPartThatFails(t *testing.T) {
	dir := t.TempDir()
	good := part{"good", 1, []string{"sh", "-c", `printf '2\tworlds\n3\tworlds\n1\tkills\n' >>"$PROOF_COUNTS"`}}
	bad := part{"bad", 1, []string{"sh", "-c", `echo "finding in $PROOF_FOR" && exit 3`}}
	results := []result{good.run(dir, time.Minute), bad.run(dir, 2*time.Minute)}
	require.NoError(t, results[0].err)
	require.Error(t, results[1].err)
	require.Contains(t, telling(results[1].log), "finding in 2m0s")
	var table bytes.Buffer
	require.ErrorContains(t, report(&table, results), "bad")
	require.Contains(t, table.String(), "1 kills, 5 worlds")
	require.Contains(t, table.String(), "FAILED, see "+filepath.Join(dir, "bad.log"))
}

// A line that is cut off is no count: the table would lie.
func TestCountsThatAreNone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "counts")
	_, err := readCounts(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, []byte("12\tworlds\n1x\n"), 0o644))
	_, err = readCounts(name)
	require.ErrorContains(t, err, "1x")
}

func TestReportOfSuccess(t *testing.T) {
	require.NoError(t, report(&bytes.Buffer{}, []result{{part: parts[0]}}))
	require.Error(t, report(&bytes.Buffer{}, []result{{part: parts[0], err: errors.New("no")}}))
}
