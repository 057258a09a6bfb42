package serve_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
	"tidemark/pkg/mtree/serve"
)

// A number of waiters below zero would let nobody wait: it is refused.
func TestNegativeWaitersAreRefused(t *testing.T) {
	_, err := serve.New(serve.Config{Root: t.TempDir(), MaxWaiters: -1})
	require.Error(t, err)
	require.Equal(t, exit.Usage, exit.Of(err))
}
