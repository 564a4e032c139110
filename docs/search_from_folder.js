// Browsers run no workers on pages that are opened from a folder. The theme's search is one, so here
// it runs in a hidden frame, which speaks as a worker does.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = (this.inside = frame.contentWindow);
      const load = (one) =>
        new Promise((done, failed) => {
          const script = inside.document.createElement("script");
          script.src = one;
          script.onload = done;
          script.onerror = failed;
          inside.document.body.append(script);
        });
      inside.importScripts = (...all) => all.reduce((before, one) => before.then(() => load(one)), Promise.resolve());
      inside.postMessage = (data) => {
        const told = new MessageEvent("message", { data });
        this.dispatchEvent(told);
        this.onmessage?.(told);
      };
      this.ready = load(new URL(address, document.baseURI).href);
    }

    postMessage(data) {
      this.ready.then(() => {
        const told = new this.inside.MessageEvent("message", { data });
        this.inside.dispatchEvent(told);
      });
    }

    terminate() {
      this.inside.frameElement.remove();
    }
  };
  window.Worker = window.IFrameWorker;
}
