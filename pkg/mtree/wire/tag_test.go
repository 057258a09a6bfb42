package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree"
	"tidemark/pkg/mtree/wire"
)

// The ETag of a listing survives what proxies do to it; other ETags are no such.
func TestListingTag(t *testing.T) {
	want := wire.ListingTag{Validator: "-1.500000000", Format: "txt", Fingerprint: "0a1b2c"}
	require.Equal(t, `W/"-1.500000000-txt-0a1b2c-gzip"`, wire.QuoteTag(want.String(), "gzip"))
	require.Equal(t, `W/"-1.500000000-txt-0a1b2c"`, wire.QuoteTag(want.String(), ""))
	for _, tag := range []string{
		`W/"-1.500000000-txt-0a1b2c"`, `"-1.500000000-txt-0a1b2c"`, `W/"-1.500000000-txt-0a1b2c-gzip"`, `"-1.500000000-txt-0a1b2c-gzip-gzip"`,
		`W/"-1.500000000-txt-0a1b2c;gzip"`, `W/"-1.500000000-txt-0a1b2c-br"`, `"-1.500000000-txt-0a1b2c--gzip"`, `-1.500000000-txt-0a1b2c`,
	} {
		got, ok := wire.ParseListingTag(tag)
		require.True(t, ok, tag)
		require.Equal(t, want, got, tag)
	}
	hot := want
	hot.Hot = true
	got, ok := wire.ParseListingTag(wire.QuoteTag(hot.String(), "gzip"))
	require.True(t, ok)
	require.Equal(t, hot, got)
	for _, tag := range []string{"", `"x"`, `"1.5-txt-0a1b2"`, `"1.5-txt-0a1b2cd"`, `"1.5-txt-0A1B2C"`, `"1.5-csv-0a1b2c"`, `"1707019506.123456789-5-1707019506.123456789"`} {
		_, ok := wire.ParseListingTag(tag)
		require.False(t, ok, tag)
	}
}

func TestFileTag(t *testing.T) {
	tag := wire.FileTag{MTime: mtree.Unix(-2, 500_000_000), Size: 7, CTime: mtree.Unix(-1, 999_999_999)}
	require.Equal(t, `"-1.500000000-7--0.000000001"`, tag.String())
	for _, text := range []string{tag.String(), `-1.5-7--0.000000001`} {
		got, ok := wire.ParseFileTag(text)
		require.True(t, ok, text)
		require.Equal(t, tag, got)
	}
	for _, text := range []string{"", `"x"`, `"1.5-7"`, `"1.5-7-2"`, `"1.5--7-2.5"`, `"1.5-7-2.5-3"`, `"65a-7"`, `W/"1.5-7-2.5"`} {
		_, ok := wire.ParseFileTag(text)
		require.False(t, ok, text)
	}
}
