package credentials

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

func TestTokens(t *testing.T) {
	file := t.TempDir() + "/tokens"
	require.NoError(t, os.WriteFile(file, []byte("# ours\n\n one \ntwo\n"), 0o600))
	tokens, err := ReadTokens(file)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, tokens)
	require.NoError(t, os.WriteFile(file, []byte("# none\n"), 0o600))
	_, err = ReadTokens(file)
	require.Equal(t, exit.Usage, exit.Of(err), "an empty file must not open the door")
	_, err = ReadTokens(file + "x")
	require.Equal(t, exit.Usage, exit.Of(err))
}
