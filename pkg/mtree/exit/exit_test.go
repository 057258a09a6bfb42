package exit_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

func TestOf(t *testing.T) {
	plain := errors.New("plain")
	held := exit.With(exit.Held, plain, "run --release")
	local := exit.With(exit.Local, plain, "")
	require.Equal(t, exit.Done, exit.Of(nil))
	require.Equal(t, exit.Failed, exit.Of(plain))
	require.Equal(t, exit.Held, exit.Of(fmt.Errorf("pass: %w", held)))
	require.Equal(t, exit.Local, exit.Of(errors.Join(held, plain, local)), "the highest counts")
	require.NoError(t, exit.With(exit.Local, nil, "nothing to do"))
	require.EqualError(t, held, "plain: run --release")
	require.ErrorIs(t, held, plain)
}
