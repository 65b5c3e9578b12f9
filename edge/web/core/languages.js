/** Languages that can be asked for, by code; the browser knows their names. */

const CODES =
  "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy " +
  "id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa " +
  "sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh";

export const LANGUAGES = CODES.split(" ");

/** A language's name as the reader calls it, or its code where the browser does not know it. */
export function languageName(code, locale) {
  try {
    return new Intl.DisplayNames(locale ? [locale] : undefined, { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

/** [code, name] of all of them, by name. */
export function languageChoices(locale) {
  return LANGUAGES.map((code) => [code, languageName(code, locale)]).sort((a, b) => a[1].localeCompare(b[1], locale));
}
