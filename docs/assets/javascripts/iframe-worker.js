// Search runs in a web worker, and browsers start none from file:// addresses. Opened from a folder, the site
// runs the worker's script in a hidden frame instead; from a server, nothing is changed.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "search";
      this.waiting = [];
      const begin = () => {
        document.body.append(this.frame);
        const inside = this.frame.contentWindow;
        // What the script calls to answer; in a window it would post to itself.
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        const script = inside.document.createElement("script");
        script.src = String(url);
        script.onload = () => {
          for (const data of this.waiting.splice(0)) this.deliver(data);
          this.ready = true;
        };
        inside.document.body.append(script);
      };
      if (document.body) begin();
      else addEventListener("DOMContentLoaded", begin);
    }

    postMessage(data) {
      if (this.ready) this.deliver(data);
      else this.waiting.push(data);
    }

    deliver(data) {
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
