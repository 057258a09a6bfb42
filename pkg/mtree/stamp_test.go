package mtree_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
)

func TestStampText(t *testing.T) {
	for _, tc := range []struct {
		sec, nsec int64
		text      string
	}{
		{0, 0, "0.000000000"},
		{1707019506, 123456789, "1707019506.123456789"},
		{1707019506, 5, "1707019506.000000005"},
		{-1, 0, "-1.000000000"},
		{-1, 500000000, "-0.500000000"},
		{-2, 500000000, "-1.500000000"},
		{-2147483648, 1, "-2147483647.999999999"},         // 1901, the first second of int32
		{15032385535, 999999999, "15032385535.999999999"}, // 2446, the last of ext4
		{math.MaxInt64, 999999999, "9223372036854775807.999999999"},
		{math.MinInt64, 0, "-9223372036854775808.000000000"},
	} {
		s := mtree.Unix(tc.sec, tc.nsec)
		require.Equal(t, tc.text, s.String())
		back, err := mtree.ParseStamp(tc.text)
		require.NoError(t, err, tc.text)
		require.Equal(t, s, back)
		sec, nsec := back.Unix()
		require.Equal(t, []int64{tc.sec, tc.nsec}, []int64{sec, nsec})
	}
}

func TestParseStampReadsNoneToNineDigits(t *testing.T) {
	for text, want := range map[string]mtree.Stamp{
		"7":            mtree.Unix(7, 0),
		"7.1":          mtree.Unix(7, 100_000_000),
		"7.000000001":  mtree.Unix(7, 1),
		"-7.25":        mtree.Unix(-8, 750_000_000),
		"-0.000000000": mtree.Unix(0, 0),
		"007.5":        mtree.Unix(7, 500_000_000),
	} {
		s, err := mtree.ParseStamp(text)
		require.NoError(t, err, text)
		require.Equal(t, want, s, text)
	}
	for _, bad := range []string{"", "-", ".5", "1.", "1.1234567890", "1e9", "+1", " 1", "1 ", "1,5", "1.-5", "--1",
		"9223372036854775808", "-9223372036854775808.000000001", "99999999999999999999999", "0x10", "NaN"} {
		_, err := mtree.ParseStamp(bad)
		require.ErrorIs(t, err, mtree.ErrStamp, "%q", bad)
	}
}

func TestStampIsAJSONString(t *testing.T) {
	s := mtree.Unix(1<<60, 1)
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.Equal(t, `"1152921504606846976.000000001"`, string(text))
	var back mtree.Stamp
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, s, back)
	require.Error(t, json.Unmarshal([]byte(`1.5`), &back), "a float has lost digits already")
}

func TestStampArithmetic(t *testing.T) {
	s := mtree.Unix(10, 999_999_999)
	require.Equal(t, mtree.Unix(11, 0), s.Add(1))
	require.Equal(t, mtree.Unix(8, 499_999_999), s.Add(-2500*time.Millisecond))
	require.Equal(t, mtree.MaxStamp, mtree.MaxStamp.Add(time.Hour))
	require.Equal(t, mtree.MinStamp, mtree.MinStamp.Add(-time.Hour))
	require.Equal(t, time.Duration(1), mtree.Unix(11, 0).Sub(s))
	require.Equal(t, time.Duration(math.MaxInt64), mtree.MaxStamp.Sub(mtree.MinStamp))
	require.Equal(t, time.Duration(math.MinInt64), mtree.MinStamp.Sub(mtree.MaxStamp))
	require.True(t, s.Before(mtree.Unix(11, 0)) && !s.Before(s) && s.After(mtree.Unix(10, 0)))
	require.Equal(t, s, mtree.Later(s, mtree.Unix(10, 0)))
	require.Equal(t, s, mtree.Earlier(mtree.Unix(11, 0), s))
	now := time.Now()
	require.True(t, now.Equal(mtree.FromTime(now).Time()))
}

func TestStampFloor(t *testing.T) {
	s := mtree.Unix(1_000_000_001, 123_456_789)
	for granule, want := range map[time.Duration]mtree.Stamp{
		0:                     s,
		1:                     s,
		100:                   mtree.Unix(1_000_000_001, 123_456_700),
		10 * time.Millisecond: mtree.Unix(1_000_000_001, 120_000_000),
		time.Second:           mtree.Unix(1_000_000_001, 0),
		2 * time.Second:       mtree.Unix(1_000_000_000, 0),
	} {
		require.Equal(t, want, s.Floor(granule), "%s", granule)
	}
	require.Equal(t, mtree.Unix(-2, 0), mtree.Unix(-2, 5).Floor(time.Second), "down, not towards zero")
	require.Equal(t, mtree.Unix(-4, 0), mtree.Unix(-3, 5).Floor(2*time.Second))
}

func FuzzStamp(f *testing.F) {
	for _, seed := range []string{"0", "-0.5", "1707019506.123456789", "9223372036854775807.999999999", "1.", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := mtree.ParseStamp(text)
		if err != nil {
			return
		}
		back, err := mtree.ParseStamp(s.String())
		require.NoError(t, err)
		require.Equal(t, s, back)
	})
}
