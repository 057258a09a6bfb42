package credentials

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tokens are lines without blanks around them, and no comments; written again they are
// the same.
func FuzzTokens(f *testing.F) {
	f.Add([]byte("one\n# two\n\n three \r\nfour"))
	f.Add([]byte("#"))
	f.Add([]byte("\xef\xbb\xbftoken\n"))
	file := filepath.Join(f.TempDir(), "tokens")
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(file, text, 0o600))
		_, tokens, err := readTokenFile(file)
		if err != nil {
			require.Empty(t, tokens)
			return
		}
		require.NotEmpty(t, tokens)
		for _, token := range tokens {
			require.NotEmpty(t, token)
			require.Equal(t, strings.TrimSpace(token), token)
			require.NotEqual(t, byte('#'), token[0])
		}
		require.NoError(t, os.WriteFile(file, []byte(strings.Join(tokens, "\n")), 0o600))
		again, err := ReadTokens(file)
		require.NoError(t, err)
		require.Equal(t, tokens, again)
	})
}
