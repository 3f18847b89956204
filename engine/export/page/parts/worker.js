"use strict";

// The network runs beside the page, so that drawing never waits for it. Messages to it:
//   { kind: "start", network }                           once, first
//   { kind: "classify", id, rgba, width, height }        answered by { kind: "answer" } or { kind: "error" }
//   { kind: "explain", id }                              which pixels of the last picture count: { kind: "importance" }
// A later picture ends an explanation that is not done.

const SLICE = 100; // milliseconds after which a message may come in between

function worker(post) {
  let network = null, last = null;

  function answer({ id, rgba, width, height }) {
    const { seen, outputs, scores } = classify(network, fromRGBA(rgba, width, height));
    last = { id, seen, index: likeliest(scores) };
    const layers = network.nodes.map(({ name }) => ({ name, data: outputs[name].data }));
    post({ kind: "answer", id, seen, layers, scores, index: last.index });
  }

  function explain(id) {
    if (!last || last.id !== id) return;
    const steps = importance(network, last.seen, last.index);
    const goOn = () => {
      if (last.id !== id) return;
      const end = performance.now() + SLICE;
      for (const { share, map } of { [Symbol.iterator]: () => ({ next: () => steps.next() }) }) {
        if (map) return post({ kind: "importance", id, share, map });
        if (performance.now() > end) {
          post({ kind: "importance", id, share });
          break;
        }
      }
      setTimeout(goOn);
    };
    goOn();
  }

  return (message) => {
    try {
      if (message.kind === "start") network = opened(message.network);
      else if (message.kind === "classify") answer(message);
      else explain(message.id);
    } catch (error) {
      post({ kind: "error", id: message.id, text: error.message });
    }
  };
}
