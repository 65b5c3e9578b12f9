/** A WAV file of samples. Pure. */

/** mono, 16 bit; gives an ArrayBuffer. Format: Microsoft, "Multimedia Programming Interface", RIFF WAVE. */
export function wav(pcm, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * pcm.length));
  const tag = (at, text) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  tag(0, "RIFF");
  view.setUint32(4, 36 + 2 * pcm.length, true);
  tag(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  tag(36, "data");
  view.setUint32(40, 2 * pcm.length, true);
  pcm.forEach((sample, index) => view.setInt16(44 + 2 * index, sample, true));
  return view.buffer;
}
