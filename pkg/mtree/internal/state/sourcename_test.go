package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/internal/state"
)

func TestSourceName(t *testing.T) {
	for source, want := range map[string]string{
		"http://user:secret@Host:8077/a/": "http://host:8077/a",
		"https://host":                    "https://host",
		"http://host/":                    "http://host",
		"http://host/A%20b/":              "http://host/A%20b",
		"/srv/tree/":                      "/srv/tree",
		"tree":                            "tree",
		"/":                               "/",
		"/odd:@name/":                     "/odd:@name",
		"/odd:/":                          "/odd:",
		"unix:/run/s":                     "unix:/run/s",
		"unix:/run/s:/":                   "unix:/run/s",
		"unix:/run/s:/dir/":               "unix:/run/s:/dir",
	} {
		require.Equal(t, want, state.SourceName(source))
	}
}
