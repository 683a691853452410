// Runs the script of a page of `cgml view` with a canvas that counts, in node:
// draws, turns, zooms, goes to the second frame. Prints calls and the time shown.
const fs = require("fs");
const page = fs.readFileSync(process.argv[2], "utf8");
const data = page.match(/<script type="application\/json" id="data">(.*?)<\/script>/s)[1];
const code = page.match(/<script>\n(.*?)<\/script>/s)[1];
let calls = 0;
const handlers = {}, elements = {};
const pen = new Proxy({}, {
  get: (own, key) => (key in own ? own[key] : () => { calls++; }),
  set: (own, key, value) => { own[key] = value; return true; },
});
const element = name => elements[name] ??= {
  textContent: name === "data" ? data : "", style: {}, value: 0, clientWidth: 800, clientHeight: 600,
  getContext: () => pen, add() {}, append() {}, setPointerCapture() {},
  addEventListener(kind, call) { handlers[`${name}:${kind}`] = call; },
};
global.document = { getElementById: element, querySelector: element, createElement: element };
global.window = { devicePixelRatio: 1, addEventListener() {} };
global.Option = function () {};
global.atob = text => Buffer.from(text, "base64").toString("binary");
eval(code);
const first = calls;
handlers["canvas:pointermove"]({ buttons: 1, movementX: 5, movementY: 3 });
handlers["canvas:wheel"]({ deltaY: 100, preventDefault() {} });
element("input").value = 1;
handlers["input:input"]();
console.log(first, calls, element("time").textContent);
