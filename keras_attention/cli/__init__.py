"""The command line: train, generate, evaluate, score, export, plot, view.

    keras-attention train pairs.tsv --model transformer --out DIR
    echo "hello" | keras-attention generate DIR
    keras-attention evaluate DIR pairs.tsv
    keras-attention score DIR pairs.tsv
    keras-attention export DIR EXPORTED
    keras-attention plot DIR "hello" --out picture.png
    keras-attention view DIR "hello" --out page.html

Keras and TensorFlow take seconds to import, so nothing here imports them at
the top: help, version and wrong arguments are answered at once. What a user
can mend is one line on standard error and an exit status of 2; Ctrl-C ends with
130, a closed output with 1, and a fault of the program with its traceback.

Read `program` first, then `options` (what may be said), `values` and `parser`
(how it is checked), `generation`, `scoring` and `commands` (what is done),
`outcome` and `terminal` (how errors are told).
"""

from keras_attention.cli.program import main

__all__ = ["main"]
